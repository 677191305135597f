"""Attempts of real processes: what an exit leads to, and stops between attempts."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

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


def test_a_training_that_is_done(run_dir: Path) -> None:
    found = supervise(run_dir, training(AWARE + "step:2 durable:2 exiting:0 exit:0"), "--seed", "7")
    assert (found.returncode, found.stderr) == (0, "")
    assert kinds(run_dir) == [
        *["started", "hello", "restored", "step", "durable", "step", "exiting", "exited", "ended"]
    ]
    assert ended(run_dir) == ("SUCCEEDED", "done")
    exited = only(run_dir, "exited")[0]
    assert (exited["code"], exited["signal"], exited["reason"]) == (0, None, "done")
    assert exited["durable_step"] == 2


@pytest.mark.parametrize(
    ("actions", "code", "state", "reason"),
    [
        ("exit:75", 75, "INTERRUPTED", "interrupted"),
        ("exit:76", 76, "FAILED", "fenced"),
        (AWARE + "exiting:75 exit:1", 75, "INTERRUPTED", "interrupted"),
        ("exit:9", 9, "FAILED", "crashed"),
        ("hello restored:0 kill:11", 139, "FAILED", "crashed"),
    ],
)
def test_an_exit_that_ends_the_job(
    run_dir: Path, actions: str, code: int, state: str, reason: str
) -> None:
    assert supervise(run_dir, training(actions)).returncode == code
    assert ended(run_dir)[0] == state
    assert only(run_dir, "exited")[0]["reason"] == reason
    assert only(run_dir, "ended")[0]["code"] == code


def test_a_kill_begins_again_at_once_after_progress_and_waits_without(run_dir: Path) -> None:
    first = AWARE + "durable:1 kill:9"
    second = "hello restored:1 step:2 kill:15"
    assert supervise(run_dir, training(first, second, "exit:0")).returncode == 0
    assert [event["seconds"] for event in only(run_dir, "waiting")] == [0.0, 0.01]
    assert [event["reason"] for event in only(run_dir, "exited")] == ["killed", "killed", "done"]
    assert sorted(path.name for path in run_dir.glob("gen-*")) == [
        *["gen-000001", "gen-000002", "gen-000003"]
    ]


def test_ten_kills_without_progress_are_enough(run_dir: Path) -> None:
    found = supervise(run_dir, ["sh", "-c", "kill -9 $$"], "--backoff-s", "0.001")
    assert found.returncode == 128 + 9
    assert ended(run_dir) == ("FAILED", "killed 10 times in a row without durable progress")
    assert len(only(run_dir, "started")) == 10


def test_a_crash_spends_the_budget_and_progress_renews_it(run_dir: Path) -> None:
    crash = "hello restored:{0} step:{1} exit:3"
    progress = "hello restored:0 step:5 durable:5 exit:3"
    attempts = [crash.format(0, 1), progress, crash.format(5, 6), crash.format(5, 6)]
    found = supervise(run_dir, training(*attempts), "--retries", "2")
    assert found.returncode == 3
    assert len(only(run_dir, "exited")) == 4
    assert ended(run_dir)[0] == "FAILED"


@pytest.mark.parametrize(
    ("file", "code", "state"), [("PREEMPT", 75, "INTERRUPTED"), ("CANCEL", 130, "CANCELLED")]
)
def test_a_file_touched_before_the_first_attempt_starts_nothing(
    run_dir: Path, file: str, code: int, state: str
) -> None:
    (run_dir / file).touch()
    assert supervise(run_dir, training("touch:ready")).returncode == code
    assert kinds(run_dir) == ["notice", "ended"]
    assert ended(run_dir)[0] == state
    assert not (run_dir / "ready").exists()
    assert (run_dir / f"{file}.ack-g000001").exists()


@pytest.mark.parametrize(
    ("file", "code", "state"), [("PREEMPT", 75, "INTERRUPTED"), ("CANCEL", 130, "CANCELLED")]
)
def test_a_file_touched_while_it_waits_is_heard(
    run_dir: Path, file: str, code: int, state: str
) -> None:
    supervisor = start(run_dir, ["sh", "-c", "kill -9 $$"], "--backoff-s", "60")
    until(lambda: (run_dir / "attempts").exists() and only(run_dir, "waiting"))
    (run_dir / file).touch()
    assert supervisor.wait() == code
    assert kinds(run_dir)[-3:] == ["waiting", "notice", "ended"]
    assert ended(run_dir)[0] == state
    assert len(only(run_dir, "started")) == 1


def test_a_signal_while_it_waits_is_heard(run_dir: Path) -> None:
    supervisor = start(run_dir, ["sh", "-c", "kill -9 $$"], "--backoff-s", "60")
    until(lambda: (run_dir / "attempts").exists() and only(run_dir, "waiting"))
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait() == 75
    assert only(run_dir, "notice")[0]["reason"] == "SIGTERM"


def test_a_file_left_from_the_last_attempt_does_not_stop_the_next(run_dir: Path) -> None:
    # Touched again while it stopped, and left there: `touch` runs after the last look.
    command = training(AWARE + "heed touch:PREEMPT wait exit:75", "exit:0")
    assert supervise(run_dir, command).returncode == 75
    (run_dir / "PREEMPT").touch()
    newest = (run_dir / "attempts" / "000001.jsonl").stat()
    os.utime(run_dir / "PREEMPT", ns=(newest.st_mtime_ns, newest.st_mtime_ns))
    assert supervise(run_dir, command).returncode == 0
    assert (run_dir / "PREEMPT.stale-g000002").exists()


def test_whoever_claims_the_folder_meanwhile_owns_it(run_dir: Path) -> None:
    command = ["sh", "-c", 'touch "$PERDURE_RUN_DIR/gen-000007"; kill -9 $$']
    assert supervise(run_dir, command).returncode == 76
    assert ended(run_dir) == ("FAILED", "fenced")
    assert not (run_dir / "gen-000008").exists()


def test_a_folder_that_takes_no_other_attempt_ends_the_job(run_dir: Path) -> None:
    # Not before its supervisor wrote that it started, and so has opened the events.
    told = 'until [ -s "$PERDURE_RUN_DIR/attempts/000001.jsonl" ]; do sleep 0.01; done'
    move = 'mv "$PERDURE_RUN_DIR" "$PERDURE_RUN_DIR.moved"; kill -9 $$'
    found = supervise(run_dir, ["sh", "-c", f"{told}; {move}"], "--cwd", "/")
    assert found.returncode == 5
    assert "perdure: cannot claim another attempt" in found.stderr
    moved = run_dir.with_name(run_dir.name + ".moved")
    assert ended(moved)[0] == "FAILED"  # its event file was open: it is told there


def test_what_a_killed_supervisor_left_running_is_ended_before_the_next_attempt(
    run_dir: Path,
) -> None:
    first = start(run_dir, training("stubborn:setsid ready hang", "exit:0"), "--grace-s", "0.2")
    until((run_dir / "ready").exists)
    pid = int((run_dir / "stubborn").read_text())
    training_pid = only(run_dir, "started")[0]["pid"]
    assert isinstance(training_pid, int)
    first.kill()
    first.wait()
    assert alive(pid)
    found = supervise(run_dir, training("stubborn:setsid ready hang", "exit:0"), "--grace-s", "0.2")
    assert found.returncode == 0
    assert not alive(pid)
    assert not alive(training_pid)
    text = str(events(run_dir, 2)[0]["text"])
    assert str(pid) in text
    assert str(training_pid) in text
