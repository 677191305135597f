"""A machine that dies in the middle: supervisor and training are gone at once, and go on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from perdure.jobs.folder import is_alive
from perdure.runtime.result import read_result
from tests.e2e.demonstrated import PATIENCE_S, Demonstrated
from tests.waiting import until

# Enough of them that a quick machine, too, is still at it when it is interrupted and killed.
EPOCHS = "20"


def wait_for(folder: Path, attempt: int, event: str, step: int) -> dict[str, object]:
    """Return the first event of this name from that step on, of that attempt."""
    file = folder / "attempts" / f"{attempt:06d}.jsonl"

    def found() -> list[dict[str, object]]:
        lines = file.read_text().splitlines() if file.exists() else ()
        events: list[dict[str, object]] = [json.loads(line) for line in lines]
        return [e for e in events if e["event"] == event and int(str(e.get("step", step))) >= step]

    until(found, told=lambda: f"no {event} from step {step}: {file.read_text()}", patience_s=300)
    return found()[0]


def kill_both(folder: Path, started: dict[str, object]) -> None:
    """End the supervisor and its training as a power failure does."""
    stat = (Path("/proc") / str(started["pid"]) / "stat").read_text()
    supervisor = int(stat.rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    os.killpg(int(str(started["pgid"])), signal.SIGKILL)
    until(lambda: not is_alive(folder))


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_kill_9_of_supervisor_and_training_then_recover_ends_alike(
    demonstrated: Demonstrated,
) -> None:
    project, said = demonstrated.project, demonstrated.said
    folder = project / "results" / "broken"
    said("run", "-d", "--name", "broken", "--seed", "3", "train", "--epochs", EPOCHS)
    wait_for(folder, 1, "step", 25)
    said("interrupt", "broken")
    wait_for(folder, 1, "ended", 0)
    said("resume", "-d", "broken")
    started = wait_for(folder, 2, "started", 0)
    saved = int(str(wait_for(folder, 2, "restored", 1)["step"]))
    wait_for(folder, 2, "step", saved + 1)
    kill_both(folder, started)

    listed = {job["job"]: job["state"] for job in json.loads(said("ps", "--json"))}
    assert listed["broken"] == "LOST"
    said("recover")
    said("logs", "-f", "broken")
    assert wait_for(folder, 3, "restored", 1)["step"] == saved
    said("run", "--name", "whole", "--seed", "3", "train", "--epochs", EPOCHS)
    broken, whole = read_result(str(folder)), read_result(str(project / "results" / "whole"))
    assert broken is not None
    assert whole is not None
    assert broken.complete
    assert broken.weights == whole.weights
    assert (broken.metrics, broken.rows) == (whole.metrics, whole.rows)
