"""A machine that dies in the middle: supervisor and training are gone at once, and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perdure.jobs.folder import is_alive
from perdure.runtime.result import read_result
from tests.waiting import until

PATIENCE_S = 900


def perdure(cwd: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "perdure.cli.main", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(folder: Path, attempt: int, event: str, step: int) -> dict[str, object]:
    """Return the first event of this name from that step on, of that attempt."""
    file = folder / "attempts" / f"{attempt:06d}.jsonl"
    until = time.monotonic() + PATIENCE_S / 3
    while time.monotonic() < until:
        for line in file.read_text().splitlines() if file.exists() else ():
            found: dict[str, object] = json.loads(line)
            if found["event"] == event and int(str(found.get("step", step))) >= step:
                return found
        time.sleep(0.02)
    raise AssertionError(f"no {event} from step {step}: {file.read_text()}")


def kill_both(folder: Path, started: dict[str, object]) -> None:
    """End the supervisor and its training as a power failure does."""
    stat = (Path("/proc") / str(started["pid"]) / "stat").read_text()
    supervisor = int(stat.rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    os.killpg(int(str(started["pgid"])), signal.SIGKILL)
    until(lambda: not is_alive(folder))


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_kill_9_of_supervisor_and_training_then_recover_ends_alike(tmp_path: Path) -> None:
    perdure(tmp_path, "new", "cats", "--yes")
    project = tmp_path / "cats"
    folder = project / "results" / "broken"
    perdure(project, "run", "-d", "--name", "broken", "--seed", "3", "train", "--epochs", "6")
    wait_for(folder, 1, "step", 25)
    perdure(project, "interrupt", "broken")
    wait_for(folder, 1, "ended", 0)
    perdure(project, "resume", "-d", "broken")
    started = wait_for(folder, 2, "started", 0)
    saved = int(str(wait_for(folder, 2, "restored", 1)["step"]))
    wait_for(folder, 2, "step", saved + 1)
    kill_both(folder, started)

    listed = json.loads(perdure(project, "ps", "--json"))
    assert [job["state"] for job in listed] == ["LOST"]
    perdure(project, "recover")
    perdure(project, "logs", "-f", "broken")
    assert wait_for(folder, 3, "restored", 1)["step"] == saved
    perdure(project, "run", "--name", "whole", "--seed", "3", "train", "--epochs", "6")
    broken, whole = read_result(str(folder)), read_result(str(project / "results" / "whole"))
    assert broken is not None
    assert whole is not None
    assert broken.complete
    assert broken.weights == whole.weights
    assert (broken.metrics, broken.rows) == (whole.metrics, whole.rows)
