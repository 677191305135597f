from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.runtime.supervisor import child as children
from perdure.runtime.supervisor.child import Child, Status
from tests.runtime.supervisor.harness import options
from tests.waiting import until


def started(run_dir: Path, *command: str) -> Child:
    log, problem = children.open_log(str(run_dir), 1)
    assert problem is None
    asked = options(run_dir, *command)
    reader, writer = os.pipe()
    child = children.start(asked, children.environment(asked, 1, writer), writer, log)
    for fd in (reader, writer, log):
        os.close(fd)
    return child


def reaped(child: Child) -> Status | None:
    def ended() -> bool:
        child.reap()
        return child.status is not None

    until(ended)
    return child.status


def test_an_end_is_a_code_or_a_signal(run_dir: Path) -> None:
    assert reaped(started(run_dir, "sh", "-c", "exit 7")) == Status(7, None)
    assert reaped(started(run_dir, "sh", "-c", "kill -9 $$")) == Status(None, 9)


def test_pid_1_reaps_whoever_ends(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = started(run_dir, "true")
    stranger = os.posix_spawn("/bin/true", ["true"], {})
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert reaped(child) == Status(0, None)

    def gone() -> bool:
        child.reap()
        return not Path(f"/proc/{stranger}").exists()

    until(gone)


def test_what_is_gone_is_not_signalled(run_dir: Path) -> None:
    child = started(run_dir, "true")
    reaped(child)
    assert child.belonging() == []
    child.ask()  # its number may be another's by now
    child.kill()


def test_an_environment_without_a_seed(run_dir: Path) -> None:
    asked = options(run_dir)
    assert "PERDURE_SEED" not in children.environment(asked, 3, 9)
    told = children.environment(asked._replace(seed=0, grace_s=0.5), 3, 9)
    assert {name: told[name] for name in told if name.startswith("PERDURE_")} == {
        "PERDURE_RUN_DIR": str(run_dir),
        "PERDURE_JOB": "job",
        "PERDURE_GENERATION": "3",
        "PERDURE_ATTEMPT": "3",
        "PERDURE_GRACE_S": "0.5",
        "PERDURE_PREEMPT_FILE": str(run_dir / "PREEMPT"),
        "PERDURE_CTL_FD": "9",
        "PERDURE_SEED": "0",
    }
