"""Interruptions at random moments, of trials and of the driver: each result stays what it was."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import PerdureError
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt
from perdure.jobs.ledger import statuses
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobStatus, State
from perdure.model.settings import Settings
from perdure.sweeps.control import drive
from perdure.sweeps.holding import is_driven, last_word
from perdure.sweeps.standing import standing
from tests.jobs.projects import make_project
from tests.sweeps.conftest import end_all, kill_driver
from tests.sweeps.sweeping import driven
from tests.waiting import until

STEPS = 40
SRC = Path(__file__).resolve().parents[2] / "src"
#: A map that forgets no error: one step too many or too few, and nothing agrees.
TRAIN = f"""\
import os, sys, time
sys.path.insert(0, {str(SRC)!r})
import perdure

run = perdure.start()
state = {{"x": 0.1 + run.seed / 1e6}}
run.track(state=state)
for step in run.steps({STEPS}):
    state["x"] = 3.99 * state["x"] * (1 - state["x"])
    run.log(x=state["x"])
    time.sleep(0.004)
with open(os.path.join(run.outputs, "x"), "w") as file:
    file.write(repr(state["x"]))
"""


def expected(seed: int) -> float:
    x = 0.1 + seed / 1e6
    for _ in range(STEPS):
        x = 3.99 * x * (1 - x)
    return x


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    command = f"{sys.executable} train.py"
    made = Workspace(make_project(tmp_path / "p", {"train.py": TRAIN}, train=command), Settings())
    yield made
    end_all(made)


def preempt(workspace: Workspace, folder: Path, running: JobStatus) -> None:
    interrupt(running.record.folder, reason="spot")


def kill_child(workspace: Workspace, folder: Path, running: JobStatus) -> None:
    if running.pid is not None:
        os.kill(running.pid, signal.SIGKILL)


def end_child(workspace: Workspace, folder: Path, running: JobStatus) -> None:
    if running.pid is not None:
        os.kill(running.pid, signal.SIGTERM)


def kill_the_driver(workspace: Workspace, folder: Path, running: JobStatus) -> None:
    kill_driver(folder)
    drive(workspace.project, folder)


def end_the_driver(workspace: Workspace, folder: Path, running: JobStatus) -> None:
    word = last_word(folder)
    assert word is not None
    os.kill(word.pid, signal.SIGTERM)
    until(lambda: not is_driven(folder))
    drive(workspace.project, folder)


WAYS = (preempt, kill_child, end_child, kill_the_driver, end_the_driver)


def storm(workspace: Workspace, folder: Path, count: int, seed: int) -> int:
    """Return how many interruptions there were; the sweep is over then."""
    chance = random.Random(seed)
    done = 0
    while is_driven(folder):
        time.sleep(chance.random() * 0.05)
        running = [s for s in statuses(workspace, all=False) if s.state is State.RUNNING]
        if done < count and running:
            way = WAYS[done % len(WAYS)] if done < len(WAYS) else chance.choice(WAYS)
            try:
                way(workspace, folder, chance.choice(running))
            except (PerdureError, ProcessLookupError):
                continue  # it had ended just then
            done += 1
    return done


@pytest.mark.parametrize(
    ("trials", "interruptions"),
    [(12, 10), pytest.param(200, 40, marks=[pytest.mark.long, pytest.mark.timeout(1200)])],
)
def test_a_storm_changes_no_result(workspace: Workspace, trials: int, interruptions: int) -> None:
    folder = driven(workspace, f"seed=1..{trials}", max_running=2, retries=3)
    done = storm(workspace, folder, interruptions, trials)
    found = standing(workspace, folder)
    assert found.states == {State.SUCCEEDED: trials}
    assert done >= interruptions
    for number in range(1, trials + 1):
        run = workspace.project.results / f"sweep-{number:04d}"
        assert float((run / "outputs" / "x").read_text()) == expected(number)
        ends = [
            event
            for attempt in folders.attempts(run)
            for event in folders.read_events(run, attempt)
            if event.name == "ended" and event.text("state") == "SUCCEEDED"
        ]
        assert len(ends) == 1
