"""The program as it is called: its lock, its limits, what it imports, hostile names."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.runtime.supervisor import lock, program
from perdure.runtime.supervisor.signals import Signals
from tests.runtime.supervisor.conftest import HOSTILE
from tests.runtime.supervisor.harness import (
    MAIN,
    argv,
    events,
    kinds,
    only,
    start,
    supervise,
    training,
)
from tests.waiting import until

# Each costs more than the supervisor may take to start its child.
HEAVY = [
    "argparse",
    "asyncio",
    "http",
    "inspect",
    "logging",
    "dataclasses",
    "email",
    "ssl",
    "ctypes",
]


def test_two_supervisors_on_one_run_folder(run_dir: Path) -> None:
    first = start(run_dir, training("heed ready wait exit:75"))
    until((run_dir / "ready").exists)
    second = supervise(run_dir, ["true"])
    assert second.returncode == 3
    assert second.stderr == f"perdure: already running: another supervisor holds `{run_dir}`\n"
    first.terminate()
    assert first.wait() == 75
    assert not (run_dir / "gen-000002").exists()


def test_a_killed_supervisor_leaves_a_free_lock_and_a_child_that_can_tell(run_dir: Path) -> None:
    # `listen` reads the end of the channel: nothing to print, and on it goes.
    first = start(run_dir, training("ready listen touch:orphan", "exit:0"))
    until((run_dir / "ready").exists)
    first.kill()
    first.wait()
    until((run_dir / "orphan").exists)
    assert supervise(run_dir, training("", "exit:0")).returncode == 0


def test_without_locks_it_says_so_and_goes_on(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def take(folder: str, *, regardless: bool = False) -> lock.Lock:
        return lock.Lock(os.open(folder, os.O_RDONLY), "this file system cannot lock files")

    monkeypatch.setattr(lock, "take", take)
    assert program.main(["--run-dir", str(run_dir), "--", "true"]) == 0
    assert capfd.readouterr().err == "perdure: this file system cannot lock files\n"
    assert kinds(run_dir) == ["warning", "started", "exited", "ended"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--run-dir", "x"], 2, "write it after `--`"),
        (["--run-dir", "/nowhere", "--", "x"], 2, "no run folder at `/nowhere`"),
    ],
)
def test_what_cannot_be_done(
    arguments: list[str], code: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == code
    assert says in capfd.readouterr().err


def test_a_run_folder_that_cannot_be_locked_or_written(
    run_dir: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_dir / "supervisor.lock").mkdir()
    assert program.main(["--run-dir", str(run_dir), "--", "true"]) == 5
    assert "cannot lock the run folder" in capfd.readouterr().err
    (run_dir / "supervisor.lock").rmdir()

    def refuse(folder: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perdure.runtime.generation.claim", refuse)
    assert program.main(["--run-dir", str(run_dir), "--", "true"]) == 5
    assert "cannot write to the run folder" in capfd.readouterr().err


def test_a_standard_error_that_is_full_changes_no_exit_code(run_dir: Path) -> None:
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(argv(run_dir, []), stderr=full).returncode == 2


def test_without_standard_descriptors_nothing_is_mixed_up(run_dir: Path) -> None:
    line = argv(run_dir, ["sh", "-c", "echo out; echo err >&2; exit 75"])
    closed = 'exec "$@" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", closed, "sh", *line]).returncode == 75
    assert (run_dir / "logs" / "000001.log").read_text() == "out\nerr\n"
    assert kinds(run_dir) == ["started", "exited", "ended"]
    assert (run_dir / "supervisor.lock").read_text() == ""


def test_handlers_and_mask_are_as_before_afterwards(run_dir: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert program.main(["--run-dir", str(run_dir), "--", "true"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_signals_that_were_blocked_are_heard(run_dir: Path) -> None:
    blocked = {signal.SIGTERM, signal.SIGCHLD}
    line = argv(run_dir, training("heed ready wait exit:75"))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    supervisor = subprocess.Popen(line)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    until((run_dir / "ready").exists)
    supervisor.terminate()
    assert supervisor.wait() == 75


def test_a_terminal_that_goes_away_stops_nothing(run_dir: Path) -> None:
    # SIGTERM follows what it listens to, and may come before or after its own end.
    supervisor = start(run_dir, training("ready listen exit:75"))
    until((run_dir / "ready").exists)
    supervisor.send_signal(signal.SIGHUP)
    (run_dir / "PREEMPT").touch()  # heard after the signal: it is still there
    assert supervisor.wait() == 75


def test_hostile_names_everywhere(run_dir: Path, tmp_path: Path) -> None:
    cwd = tmp_path / ("cwd " + HOSTILE)
    cwd.mkdir()
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"
    command = [sys.executable, "-I", "-S", "-c", show, HOSTILE, "--", "", os.fsdecode(b"\xff")]
    options = ["--cwd", str(cwd), "--job", HOSTILE, "--seed", "5"]
    assert supervise(run_dir, command, *options).returncode == 0
    arguments, where, environ = json.loads((run_dir / "logs" / "000001.log").read_text())
    assert arguments == [HOSTILE, "--", "", "\udcff"]
    assert where == str(cwd)
    assert environ["PERDURE_RUN_DIR"] == str(run_dir)
    assert environ["PERDURE_JOB"] == HOSTILE
    assert environ["PERDURE_PREEMPT_FILE"] == str(run_dir / "PREEMPT")
    assert environ["PERDURE_GENERATION"] == environ["PERDURE_ATTEMPT"] == "1"
    assert (environ["PERDURE_SEED"], environ["PERDURE_GRACE_S"]) == ("5", "10")
    assert events(run_dir)[0]["command"] == command
    assert events(run_dir)[0]["cwd"] == str(cwd)


def test_what_is_known_of_the_child(run_dir: Path) -> None:
    assert supervise(run_dir, ["true"]).returncode == 0
    started = only(run_dir, "started")[0]
    assert started["pid"] == started["pgid"]
    assert isinstance(started["start_ticks"], int)
    assert started["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert not [event for event in events(run_dir) if not isinstance(event["t"], float)]


def test_the_supervisor_brings_in_little(run_dir: Path) -> None:
    ask = (
        "import sys; sys.argv[0] = sys.argv.pop(1)\n"
        "import runpy\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end\n"
        "print(*sys.modules)"
    )
    before = "import sys, runpy; print(*sys.modules)"
    isolated = [sys.executable, "-I", "-S", "-c"]
    line = [*isolated, ask, str(MAIN), "--run-dir", str(run_dir), "--", "true"]
    bare = subprocess.run([*isolated, before], capture_output=True, text=True, check=True).stdout
    found = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    brought = set(found.split()) - set(bare.split())
    assert not brought & set(HEAVY)
    assert "perdure.runtime.supervisor.clouds" not in brought
    assert "perdure.runtime.supervisor.archive" not in brought
    ours = {name for name in brought if name.startswith("perdure")}
    outside = {name for name in ours if not name.startswith("perdure.runtime.supervisor")}
    assert outside == {
        "perdure",
        "perdure.runtime",
        "perdure.runtime.names",
        "perdure.runtime.generation",
        "perdure.runtime.settled",
    }


def test_as_a_module_it_is_the_same_program(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["x", "--run-dir", str(run_dir), "--", "sh", "-c", "exit 76"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("perdure.runtime.supervisor", run_name="__main__")
    assert end.value.code == 76


def test_nothing_shadows_the_standard_library(tmp_path: Path, run_dir: Path) -> None:
    # As in site-packages: what stands beside the package comes last.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "perdure").symlink_to(MAIN.parents[2])
    (tmp_path / "site" / "socket.py").write_text("raise SystemExit('shadowed')")
    main = tmp_path / "site" / "perdure" / "runtime" / "supervisor" / "__main__.py"
    line = [sys.executable, "-I", "-S", str(main), "--run-dir", str(run_dir), "--", "true"]
    assert subprocess.run(line).returncode == 0


def test_as_pid_1_it_reaps_whatever_comes(run_dir: Path) -> None:
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a PID namespace")
    # The orphan ends before the training does; a zombie of it would still be in /proc then.
    script = "(true &) ; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ') Z '; exit 0"
    line = [*alone, *argv(run_dir, ["sh", "-c", script])]
    assert subprocess.run(line).returncode == 0
    assert (run_dir / "logs" / "000001.log").read_text() == "0\n"


def test_a_wake_after_the_end_is_no_error() -> None:
    signals = Signals()
    signals.restore()
    signals.wake()
