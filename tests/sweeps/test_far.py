"""Sweeps whose trials run on a host that ssh reaches: what they logged is here when they ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.lifecycle import read_status
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.settings import Settings, TargetSettings
from perdure.model.sweep import Search
from perdure.sweeps import control
from perdure.sweeps.control import drive
from perdure.sweeps.holding import last_word
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.standing import standing
from perdure.sweeps.submit import SweepRequest, outline, submit
from perdure.sweeps.tuner import Tuner
from tests.engines.hosts import Hosts
from tests.jobs.projects import make_project
from tests.sweeps.conftest import end_all, kill_driver
from tests.sweeps.sweeping import over
from tests.sweeps.test_tuner import TRAIN, needs_optuna
from tests.waiting import until


@pytest.fixture
def workspace(hosts_here: Hosts, tmp_path: Path) -> Iterator[Workspace]:
    root = hosts_here.place("gpu1") / f"sweeps of {tmp_path.parent.name}{tmp_path.name}"
    hosts_here.run("gpu1", "mkdir", "-p", str(root))
    files = {"train.py": f"{TRAIN}open(sys.argv[-3] + '-' + str(x), 'w').close()\n"}
    project = make_project(tmp_path / "a 'project$(x) 100%", files, train="python3 train.py")
    gpubox = TargetSettings("root@gpu1", engine="process", root=f"{root}/a 'b$(x)")
    (project.root / ".perdure").mkdir()
    local = project.root / ".perdure" / "local.toml"
    local.write_text('[targets.gpubox]\nhost = "root@gpu1"\nengine = "process"\n')
    made = Workspace(project, Settings(targets=MappingProxyType({"gpubox": gpubox})))
    yield made
    end_all(made)
    hosts_here.run("gpu1", "pkill", "-9", "-f", str(root))
    shutil.rmtree(root, ignore_errors=True)


def ended(workspace: Workspace) -> Path:
    """Return the beginning of the names of files that trials leave when they have ended."""
    return Path(workspace.settings.targets["gpubox"].root).parent / "ended"


def swept(workspace: Workspace, axis: str, steps: int, search: Search | None = None) -> Path:
    """Return the folder of a sweep that is driven."""
    arguments = (str(steps), "0.05", str(ended(workspace)))
    job = JobRequest("train", arguments, grace_s=5.0, retries=0, seed=1, target="gpubox")
    request = SweepRequest(job, parse_axes((axis,)), search or Search(), "far", 1)
    folder = submit(workspace, outline(workspace, request))
    assert drive(workspace.project, folder)
    return folder


def waits(folder: Path) -> str:
    word = last_word(folder)
    return "" if word is None else word.waits


def test_what_each_trial_has_logged_is_known(workspace: Workspace) -> None:
    found = over(workspace, swept(workspace, "x=1,3,6", 5))
    assert found.states == {State.SUCCEEDED: 3}
    losses = [trial.metrics["loss"].last for trial in found.trials]
    assert losses == [1.0, 1.0, 16.0]


def test_so_is_what_ended_while_nobody_drove_it(workspace: Workspace) -> None:
    folder = swept(workspace, "x=6", 40)
    until((workspace.project.results / "far-0001" / "attempts" / "000001.jsonl").exists)
    kill_driver(folder)
    until(ended(workspace).with_name("ended-6.0").exists)
    assert drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 1}
    assert found.trials[0].metrics["loss"].last == 16.0


def test_what_runs_there_without_a_driver_is_stopped_with_its_sweep(workspace: Workspace) -> None:
    folder = swept(workspace, "x=1,2", 10_000)
    first = workspace.project.results / "far-0001"
    until((first / "attempts" / "000001.jsonl").exists)
    until(lambda: read_status(first).state is State.RUNNING)
    kill_driver(folder)
    assert control.stop(folder, 120.0)
    assert not folders.is_alive(first)
    found = standing(workspace, folder)
    assert (found.states.get(State.QUEUED), found.states.get(State.RUNNING)) == (1, None)
    assert not ended(workspace).with_name("ended-1.0").exists()


@pytest.mark.long
def test_a_host_that_is_not_reached_is_named_and_told_once_it_is_back(
    workspace: Workspace, hosts_here: Hosts
) -> None:
    folder = swept(workspace, "x=1,2", 10_000)
    first = workspace.project.results / "far-0001"
    until(lambda: first.exists() and read_status(first).state is State.RUNNING)
    hosts_here.cut("gpu1")
    try:
        assert not control.stop(folder, 30.0)
        until(lambda: "`far-0001` was not reached" in waits(folder))
    finally:
        hosts_here.mend("gpu1")
    assert control.stop(folder, 120.0)
    assert not folders.is_alive(first)
    assert not ended(workspace).with_name("ended-1.0").exists()


@needs_optuna
@pytest.mark.long
def test_a_search_hears_of_it_and_gives_up_what_is_hopeless(workspace: Workspace) -> None:
    search = Search(
        kind="optuna", trials=9, metric="loss", pruner="percentile", sampler="random", seed=3
    )
    folder = swept(workspace, "x=-10.0..10.0", 60, search)
    # The next driver has the first trial as one that somebody else began.
    until((workspace.project.results / "far-0001" / "attempts" / "000001.jsonl").exists)
    kill_driver(folder)
    assert drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states[State.SUCCEEDED] >= 5
    assert found.states[State.CANCELLED] >= 1
    states = {trial.state.name for trial in Tuner(folder, found.sweep)._study.trials}
    assert states == {"COMPLETE", "PRUNED"}
