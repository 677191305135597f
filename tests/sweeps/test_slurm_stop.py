"""Sweeps on a real Slurm that are stopped, and trials that Slurm never lets begin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt
from perdure.jobs.launch import resume
from perdure.jobs.lifecycle import read_status
from perdure.jobs.relocate import relocate
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.report import silent
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from perdure.sweeps import control
from perdure.sweeps.control import drive
from perdure.sweeps.holding import is_driven, last_word
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.standing import standing
from perdure.sweeps.submit import SweepRequest, outline, submit
from tests.engines.slurm import Cluster
from tests.jobs.projects import make_project
from tests.sweeps.conftest import end_all, kill_driver
from tests.sweeps.sweeping import over
from tests.sweeps.test_slurm import WAIT
from tests.waiting import until

PYPROJECT = """\
[project]
name = "cats"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.targets.lab]
kind = "slurm"
[tool.perdure.targets.broken]
kind = "slurm"
modules = ["nosuch/1.0"]
"""


@pytest.fixture
def workspace(tmp_path: Path, slurm: Cluster) -> Iterator[Workspace]:
    """Return a project with the Slurm of the tests as `lab`, and as one that begins nothing."""
    files = {"wait.sh": WAIT, "pyproject.toml": PYPROJECT}
    project = make_project(tmp_path / "p", files, wait="sh wait.sh", noop="true")
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    lab = TargetSettings("", "slurm", "slurm", slurm=SlurmSettings())
    broken = TargetSettings("", "slurm", "slurm", slurm=SlurmSettings(modules=("nosuch/1.0",)))
    targets = MappingProxyType({"lab": lab, "broken": broken})
    made = Workspace(project, Settings(targets=targets))
    yield made
    end_all(made)


def swept(
    workspace: Workspace,
    task: str,
    *arguments: str,
    on: str = "lab",
    most: int = 0,
    axis: str = "n=0..9",
) -> Path:
    """Return the folder of a sweep that is driven."""
    job = JobRequest(task, arguments, grace_s=5.0, retries=0, seed=1, target=on)
    request = SweepRequest(job, parse_axes((axis,)), name="sweep", max_running=most or None)
    folder = submit(workspace, outline(workspace, request))
    assert drive(workspace.project, folder)
    return folder


@pytest.mark.parametrize("again", [False, True])
def test_what_slurm_has_of_a_dead_driver_is_stopped_and_called_off(
    workspace: Workspace, slurm: Cluster, tmp_path: Path, again: bool
) -> None:
    go = tmp_path / "go"
    folder = swept(workspace, "wait", str(go), most=1)
    until(lambda: State.RUNNING in standing(workspace, folder).states)
    kill_driver(folder)
    if again:
        # What ran by then is not the next one's own.
        assert drive(workspace.project, folder)
    assert control.stop(folder, 120.0)
    assert not is_driven(folder)
    until(lambda: slurm.jobs() == [])
    assert standing(workspace, folder).states == {State.INTERRUPTED: 1, State.QUEUED: 9}
    assert not go.exists()


def test_a_trial_that_was_moved_to_slurm_is_never_begun_here(
    workspace: Workspace, slurm: Cluster, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    folder = swept(workspace, "wait", str(go), on="local", most=1, axis="n=0..3")
    second = workspace.project.results / "sweep-0002"
    until(lambda: folders.is_job(second))
    resume(workspace, relocate(workspace, folders.read_record(second), "lab", silent))
    until(lambda: read_status(second).state is State.RUNNING)
    interrupt(second, reason="test")
    until(lambda: not folders.is_alive(second))
    # Now there is room here for all others.
    go.touch()
    until(lambda: not is_driven(folder))
    found = standing(workspace, folder)
    assert found.states == {State.SUCCEEDED: 3, State.INTERRUPTED: 1}
    assert found.sweep.why == "`sweep-0002` was moved to `lab`: perdure resume sweep-0002"
    assert folders.attempts(second) == [1]
    resume(workspace, folders.read_record(second))
    control.go_on(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 4}
    assert folders.attempts(second) == [1, 2]
    assert slurm.jobs() == []


def test_what_slurm_ends_before_it_begins_is_told_of_and_not_tried_for_ever(
    workspace: Workspace, slurm: Cluster
) -> None:
    folder = swept(workspace, "noop", on="broken", axis="n=0,1")
    told: set[str] = set()

    def ended() -> bool:
        word = last_word(folder)
        told.add("" if word is None else word.waits)
        return not is_driven(folder)

    until(ended)
    found = standing(workspace, folder)
    said = re.fullmatch(
        r"`broken` ended `(sweep-\d{4})` before it began, 3 times in a row: "
        r"results/\1/slurm.log ends with `.*module: command not found`",
        found.sweep.why,
    )
    assert said is not None
    assert any("2 times in a row" in each for each in told)
    assert slurm.jobs() == []
    assert 3 <= len(list((folder / "arrays").iterdir())) <= 6
