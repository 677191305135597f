"""One attempt of real processes: notices, the end of a grace, whom a training leaves behind."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from perdure.runtime.supervisor import attempt, program
from perdure.runtime.supervisor.child import Child
from tests.runtime.supervisor.harness import (
    AWARE,
    alive,
    ended,
    events,
    kinds,
    only,
    start,
    supervise,
    training,
)
from tests.waiting import until

STOPS = AWARE + "heed ready wait listen durable:1 exiting:75 exit:75"


def log(run_dir: Path) -> str:
    return (run_dir / "logs" / "000001.log").read_text()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"])
def test_a_signal_to_the_supervisor_is_a_notice(run_dir: Path, name: str) -> None:
    supervisor = start(run_dir, training(STOPS))
    until((run_dir / "ready").exists)
    supervisor.send_signal(signal.Signals[name])
    assert supervisor.wait() == 75
    assert json.loads(log(run_dir)) == {"notice": {"reason": name, "deadline": None}}
    notice = only(run_dir, "notice")[0]
    assert (notice["reason"], notice["deadline"], notice["grace_s"]) == (name, None, 10.0)
    assert ended(run_dir) == ("INTERRUPTED", "interrupted")


def test_a_touched_file_is_a_notice_and_is_acknowledged(run_dir: Path) -> None:
    assert (
        supervise(run_dir, training(STOPS.replace("wait", "touch:PREEMPT wait"))).returncode == 75
    )
    assert only(run_dir, "notice")[0]["reason"] == "file"
    assert not (run_dir / "PREEMPT").exists()
    assert (run_dir / "PREEMPT.ack-g000001").exists()


def test_a_file_may_say_why_and_until_when(run_dir: Path) -> None:
    deadline = time.time() + 1000
    supervisor = start(run_dir, training(STOPS))
    until((run_dir / "ready").exists)
    ready = run_dir / "written"
    ready.write_text(json.dumps({"reason": "maintenance", "deadline": deadline}))
    ready.rename(run_dir / "PREEMPT")
    assert supervisor.wait() == 75
    notice = only(run_dir, "notice")[0]
    assert (notice["reason"], notice["deadline"]) == ("maintenance", deadline)
    assert isinstance(notice["grace_s"], float)
    assert 900 < notice["grace_s"] <= 1000


def test_a_storm_of_signals_is_one_notice(run_dir: Path) -> None:
    command = training(AWARE + "heed storm:300 wait exit:75")
    assert supervise(run_dir, command).returncode == 75
    assert len(only(run_dir, "notice")) == 1
    assert ended(run_dir) == ("INTERRUPTED", "interrupted")


def test_asking_again_does_not_shorten_the_grace(run_dir: Path) -> None:
    supervisor = start(run_dir, training(AWARE + "ignore ready hang"), "--grace-s", "1")
    until((run_dir / "ready").exists)
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        supervisor.send_signal(number)
    assert supervisor.wait() == 75
    assert time.monotonic() - began >= 1  # never sooner; how much later is the machine's affair
    assert ended(run_dir) == ("INTERRUPTED", "grace-ended")


def test_a_nearer_deadline_does(run_dir: Path) -> None:
    supervisor = start(run_dir, training(AWARE + "ignore ready hang"), "--grace-s", "1000")
    until((run_dir / "ready").exists)
    supervisor.send_signal(signal.SIGTERM)
    until(lambda: only(run_dir, "notice"))
    (run_dir / "new").write_text(json.dumps({"deadline": time.time() + 0.3}))
    (run_dir / "new").rename(run_dir / "PREEMPT")
    assert supervisor.wait() == 75
    assert [event["reason"] for event in only(run_dir, "notice")] == ["SIGTERM", "file"]
    assert ended(run_dir) == ("INTERRUPTED", "grace-ended")


@pytest.mark.parametrize("where", ["group", "setsid"])
def test_when_the_grace_ends_everything_is_killed(run_dir: Path, where: str) -> None:
    command = training(f"{AWARE} ignore stubborn:{where} touch:PREEMPT hang")
    found = supervise(run_dir, command, "--grace-s", "0.3")
    assert found.returncode == 75
    assert ended(run_dir) == ("INTERRUPTED", "grace-ended")
    assert only(run_dir, "exited")[0]["signal"] == 9
    assert not alive(int((run_dir / "stubborn").read_text()))


def test_cancelled_for_good(run_dir: Path) -> None:
    command = training(AWARE + "ignore stubborn:setsid touch:CANCEL hang")
    found = supervise(run_dir, command, "--grace-s", "0.3")
    assert found.returncode == 130
    assert ended(run_dir) == ("CANCELLED", "cancelled")
    assert only(run_dir, "notice")[0]["reason"] == "cancel"
    assert not alive(int((run_dir / "stubborn").read_text()))
    assert (run_dir / "CANCEL.ack-g000001").exists()


def test_cancelling_cuts_a_long_grace_short(run_dir: Path) -> None:
    supervisor = start(run_dir, training(AWARE + "heed ready wait exiting:75 exit:75"))
    until((run_dir / "ready").exists)
    (run_dir / "CANCEL").touch()
    assert supervisor.wait() == 130
    assert only(run_dir, "notice")[0]["grace_s"] == 5.0
    assert ended(run_dir) == ("CANCELLED", "cancelled")


def test_a_training_that_knows_nothing_of_perdure_is_stopped(run_dir: Path) -> None:
    supervisor = start(run_dir, ["sh", "-c", 'touch "$PERDURE_RUN_DIR/ready"; sleep 99'])
    until((run_dir / "ready").exists)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait() == 75
    assert ended(run_dir) == ("INTERRUPTED", "stopped before it could save")


def test_a_stopped_training_is_woken_to_hear_it(run_dir: Path) -> None:
    supervisor = start(run_dir, training(AWARE + "heed ready wait exit:75"))
    until((run_dir / "ready").exists)
    pid = only(run_dir, "started")[0]["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait() == 75


def test_a_shell_that_dies_at_once_does_not_cost_its_training_the_grace(run_dir: Path) -> None:
    command = training(AWARE + "heed ready wait alone step:2 durable:2 exiting:75 exit:75")
    script = 'trap - TERM; "$@" & wait'
    supervisor = start(run_dir, ["sh", "-c", script, "sh", *command])
    until((run_dir / "ready").exists)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait() == 75
    assert only(run_dir, "exited")[0]["signal"] == 15
    assert only(run_dir, "exiting")
    assert ended(run_dir) == ("INTERRUPTED", "interrupted")


@pytest.mark.parametrize("where", ["group", "setsid"])
def test_whom_a_training_leaves_behind_does_not_outlive_it(run_dir: Path, where: str) -> None:
    assert supervise(run_dir, training(f"stubborn:{where} exit:0")).returncode == 0
    assert ended(run_dir) == ("SUCCEEDED", "done")
    assert not alive(int((run_dir / "stubborn").read_text()))


def test_steps_are_thinned_but_the_last_one_is_written(run_dir: Path) -> None:
    many = " ".join(f"step:{step}" for step in range(1, 200))
    assert supervise(run_dir, training(f"hello restored:0 {many} exit:0")).returncode == 0
    steps = [event["step"] for event in only(run_dir, "step")]
    assert steps[0] == 1
    assert steps[-1] == 199
    assert len(steps) < 20


def test_ranks_without_the_socket_are_heard_too(run_dir: Path) -> None:
    said = 'ctl:{"event":"hello"} ctl:{"event":"step","step":3} ctl:{"event":"exiting","code":75}'
    assert supervise(run_dir, training(f"deaf {said} exit:1")).returncode == 75
    assert kinds(run_dir) == ["started", "hello", "step", "exiting", "exited", "ended"]


def test_nonsense_on_the_channel_is_told_once_and_cannot_end_a_job(run_dir: Path) -> None:
    forged = 'raw:{"event":"ended","state":"SUCCEEDED"}'
    assert supervise(run_dir, training(f"raw:nonsense {forged} raw:[] exit:75")).returncode == 75
    assert kinds(run_dir) == ["started", "warning", "exited", "ended"]


@pytest.mark.parametrize(("command", "code"), [("/nowhere/x", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_started(run_dir: Path, command: str, code: int) -> None:
    assert supervise(run_dir, [command]).returncode == code
    assert kinds(run_dir) == ["warning", "exited", "ended"]
    assert f"cannot start `{command}`" in str(events(run_dir)[0]["text"])
    assert ended(run_dir)[0] == "FAILED"


def test_a_folder_that_is_not_there(run_dir: Path) -> None:
    assert supervise(run_dir, ["true"], "--cwd", "/nowhere").returncode == 127
    assert "`/nowhere`" in str(events(run_dir)[0]["text"])


def test_a_full_disk_stops_neither_the_training_nor_the_decision(run_dir: Path) -> None:
    for folder, name in [("attempts", "000001.jsonl"), ("logs", "000001.log")]:
        (run_dir / folder).mkdir()
        (run_dir / folder / name).symlink_to("/dev/full")
    found = supervise(run_dir, training(AWARE + "durable:1 exiting:75 exit:1"))
    assert found.returncode == 75
    assert found.stderr.count("\n") == 1
    assert "No space left on device" in found.stderr


def test_a_log_that_cannot_be_opened_is_a_warning(run_dir: Path) -> None:
    (run_dir / "logs").write_text("in the way")
    assert supervise(run_dir, training("print:x exit:0")).returncode == 0
    assert kinds(run_dir) == ["started", "warning", "exited", "ended"]


def test_the_log_is_the_output_as_it_came(run_dir: Path) -> None:
    command = ["sh", "-c", "printf 'out\\377\\n'; echo err >&2"]
    assert supervise(run_dir, command).returncode == 0
    assert (run_dir / "logs" / "000001.log").read_bytes() == b"out\xff\nerr\n"


def test_what_cannot_be_killed_is_left_and_told(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "LINGER_S", 0.01)
    monkeypatch.setattr(attempt, "GIVE_UP_S", 0.2)
    monkeypatch.setattr(Child, "belonging", lambda child: [2**22 + 1])  # beyond the largest id
    assert program.main(["--run-dir", str(run_dir), "--", "true"]) == 0
    assert only(run_dir, "warning")[0]["text"] == "processes that cannot be killed: [4194305]"
    assert ended(run_dir) == ("SUCCEEDED", "done")
