"""Sweeps whose trials are the elements of a real Slurm's arrays."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import UsageError
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill
from perdure.jobs.launch import resume
from perdure.jobs.lifecycle import read_status
from perdure.jobs.relocate import relocate
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import ALIVE, State
from perdure.model.report import silent
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from perdure.runtime import names
from perdure.sweeps import control, holding
from perdure.sweeps.control import drive
from perdure.sweeps.driver import Driver
from perdure.sweeps.holding import is_driven
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.pools import open_pool
from perdure.sweeps.record import read_sweep, sweeps_folder
from perdure.sweeps.standing import failed_attempts, standing
from perdure.sweeps.submit import SweepRequest, explained, outline, submit
from perdure.sweeps.trials import Maker
from perdure.targets import slurm_array as arrays
from perdure.targets.slurm_array import block_of, log_pattern
from perdure.targets.slurm_queue import seconds_said
from tests.engines.slurm import Cluster
from tests.jobs.projects import make_project
from tests.sweeps.conftest import end_all, kill_driver
from tests.sweeps.sweeping import over
from tests.sweeps.test_storm import TRAIN, expected
from tests.waiting import until

PYPROJECT = """\
[project]
name = "cats"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.targets.lab]
kind = "slurm"
"""
#: Trains until there is a file of that name; asked to stop, it has saved.
WAIT = """\
trap 'exit 75' TERM
while [ ! -e "$1" ]; do sleep 0.05; done
"""


@pytest.fixture
def workspace(tmp_path: Path, slurm: Cluster) -> Iterator[Workspace]:
    """Return a project whose target `lab` is the Slurm of the tests, in a hostile folder."""
    train = TRAIN.replace("0.004", "float(sys.argv[1])")
    # The driver is a process of its own, and reads what the project says.
    files = {"train.py": train, "wait.sh": WAIT, "pyproject.toml": PYPROJECT}
    tasks = {"train": f"{sys.executable} train.py", "noop": "true", "wrong": "false"}
    tasks["wait"] = "sh wait.sh"
    project = make_project(tmp_path / "my 'pro$(ject) 100%", files, **tasks)
    lab = TargetSettings("", "slurm", "slurm", slurm=SlurmSettings())
    made = Workspace(project, Settings(targets=MappingProxyType({"lab": lab})))
    yield made
    end_all(made)


def swept(
    workspace: Workspace,
    *axes: str,
    task: str = "train",
    arguments: tuple[str, ...] = ("0.004",),
    max_running: int | None = None,
) -> Path:
    """Return the folder of a sweep on the cluster that is driven."""
    job = JobRequest(task, arguments, grace_s=5.0, retries=0, seed=1, target="lab")
    request = SweepRequest(job, parse_axes(axes), name="sweep", max_running=max_running)
    folder = submit(workspace, outline(workspace, request))
    assert drive(workspace.project, folder)
    return folder


def run_dir(workspace: Workspace, trial: int) -> Path:
    return workspace.project.results / f"sweep-{trial:04d}"


def state(workspace: Workspace, trial: int) -> State:
    return read_status(run_dir(workspace, trial)).state


def test_a_line_that_is_not_slurms_is_refused_and_leaves_nothing(workspace: Workspace) -> None:
    lab = TargetSettings("", "slurm", "slurm", slurm=SlurmSettings(lines=("--gerbil=2",)))
    asked = Workspace(workspace.project, Settings(targets=MappingProxyType({"lab": lab})))
    with pytest.raises(UsageError, match="unrecognized option '--gerbil=2'"):
        swept(asked, "seed=0..3")
    assert not list(sweeps_folder(workspace.project).glob("*"))


def test_many_short_trials_take_fewer_elements(workspace: Workspace, slurm: Cluster) -> None:
    folder = swept(workspace, "n=1..60", task="noop", arguments=())
    assert over(workspace, folder).states == {State.SUCCEEDED: 60}
    began = {path.name for path in (folder / "arrays").glob("*/held-*")}
    assert 1 <= len(began) < 60
    assert slurm.jobs() == []
    for trial in range(1, 61):
        assert folders.attempts(run_dir(workspace, trial)) == [1]


def test_each_trial_has_its_own_arguments_seed_and_output(workspace: Workspace) -> None:
    folder = swept(workspace, "seed=1..6", max_running=2)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 6}
    for trial in range(1, 7):
        assert float((run_dir(workspace, trial) / "outputs" / "x").read_text()) == expected(trial)


def test_a_small_limit_of_arrays_makes_several(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Driven in this process, which takes the cluster for one with a MaxArraySize of 11."""
    monkeypatch.setattr(arrays, "block_size", lambda: 10)
    job = JobRequest("noop", (), retries=0, seed=1, target="lab")
    request = SweepRequest(job, parse_axes(("n=1..25",)), name="sweep")
    folder = submit(workspace, outline(workspace, request))
    with holding.held(folder) as said:
        pool, mark = open_pool(workspace, folder, folders.read_record(folder), {})
        maker = Maker(folder, read_sweep(folder), workspace.project.results, mark=mark)
        driver = Driver(workspace, folder, pool, maker, said)
        try:
            driver.run()
        finally:
            driver.close()
            pool.close()
    assert standing(workspace, folder).states == {State.SUCCEEDED: 25}
    assert len(list((folder / "arrays").iterdir())) == 3
    # Slurm itself finds the run folders of its elements.
    assert (run_dir(workspace, 1) / names.SCHEDULER_LOG).exists()
    assert (run_dir(workspace, 20) / names.SCHEDULER_LOG).exists()


def test_a_scheduler_that_is_away_and_a_node_that_is_drained_cost_no_trial(
    workspace: Workspace, slurm: Cluster
) -> None:
    folder = swept(workspace, "seed=1..5", arguments=("0.06",), max_running=2)
    until(lambda: training(slurm) != [])
    drain = ("scontrol", "update", "NodeName=node1", "State=DRAIN", "Reason=test")
    slurm.ask(*drain)
    slurm.stop_controller()
    # Somebody wants more meanwhile, and the driver cannot hand it over.
    control.extend(folder, {"seed": "6"})
    until(lambda: is_driven(folder))
    time.sleep(3)
    assert is_driven(folder)
    slurm.start_controller()
    # What it was told just before it went it may have lost.
    slurm.ask(*drain)
    found = over(workspace, folder)
    slurm.ask("scontrol", "update", "NodeName=node1", "State=RESUME")
    assert found.states == {State.SUCCEEDED: 6}
    for trial in range(1, 7):
        assert float((run_dir(workspace, trial) / "outputs" / "x").read_text()) == expected(trial)


def test_more_or_fewer_run_at_a_time_from_when_that_is_said(
    workspace: Workspace, slurm: Cluster, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    folder = swept(workspace, "n=0..9", task="wait", arguments=(str(end),), max_running=1)
    until(lambda: len(running(slurm)) == 1)
    control.extend(folder, {}, max_running=3)
    until(lambda: len(running(slurm)) == 3)
    control.extend(folder, {}, max_running=1)
    until(lambda: "Throttle=1 " in slurm.ask("scontrol", "-o", "show", "job", number_of(slurm)))
    end.touch()
    assert over(workspace, folder).states == {State.SUCCEEDED: 10}


def running(slurm: Cluster) -> list[str]:
    return [number for number, state, *_ in slurm.jobs() if state == "RUNNING"]


def number_of(slurm: Cluster) -> str:
    return slurm.jobs()[0][0].partition("_")[0]


def test_a_killed_driver_changes_nothing_and_another_goes_on(
    workspace: Workspace, slurm: Cluster
) -> None:
    folder = swept(workspace, "seed=1..4", arguments=("0.05",))
    until(lambda: len(slurm.jobs()) >= 4)
    kill_driver(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 4}
    for trial in range(1, 5):
        assert folders.attempts(run_dir(workspace, trial)) == [1]


def test_stopped_it_leaves_the_queue_and_resumed_it_goes_on(
    workspace: Workspace, slurm: Cluster
) -> None:
    folder = swept(workspace, "seed=1..4", arguments=("0.06",), max_running=2)
    until(lambda: State.RUNNING in standing(workspace, folder).states)
    assert control.stop(folder, 60)
    until(lambda: slurm.jobs() == [])
    states = standing(workspace, folder).states
    assert set(states) == {State.INTERRUPTED, State.QUEUED}
    control.go_on(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 4}


def test_a_trial_is_interrupted_killed_and_retried_like_any_job(
    workspace: Workspace, slurm: Cluster, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    folder = swept(workspace, "seed=1..3", task="wait", arguments=(str(go),), max_running=1)
    until(lambda: state(workspace, 1) is State.RUNNING)
    assert kill(run_dir(workspace, 3), timeout_s=120) == "confirmed"
    interrupt(run_dir(workspace, 1), reason="asked")
    until(lambda: state(workspace, 1) not in ALIVE)
    go.touch()
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 2, State.CANCELLED: 1}
    assert len(folders.attempts(run_dir(workspace, 1))) == 2
    bad = failed_attempts(found, control.bad_states(failed=True, cancelled=True))
    control.retry(folder, bad)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 3}


def test_the_whole_script_of_an_array_is_explained_with_the_users_lines(
    workspace: Workspace, slurm: Cluster
) -> None:
    lab = TargetSettings(
        "", "slurm", "slurm", slurm=SlurmSettings(lines=("--nice=7", "ulimit -c 0"))
    )
    explaining = Workspace(workspace.project, Settings(targets=MappingProxyType({"lab": lab})))
    job = JobRequest("train", ("0.1",), target="lab")
    request = SweepRequest(job, parse_axes(("seed=0..9",)), name="rates", max_running=4)
    text = "\n".join(explained(explaining, outline(explaining, request), 3))
    assert text.startswith("10 jobs, 4 at a time, on lab: seed (10)\nsbatch --parsable ")
    assert "#SBATCH --array=1-10%4\n" in text
    assert "#SBATCH --nice=7\n\nulimit -c 0\n" in text
    assert "train.py 0.1 with arguments of its own.\nsrun " in text
    assert "rates-%4a/slurm.log" in text
    assert slurm.jobs() == []
    assert not workspace.project.results.exists()


def test_a_failure_is_a_failure(workspace: Workspace) -> None:
    folder = swept(workspace, "n=1..3", task="wrong", arguments=())
    assert over(workspace, folder).states == {State.FAILED: 3}


def cancel(slurm: Cluster, number: str) -> None:
    slurm.ask("scancel", number)


def requeue(slurm: Cluster, number: str) -> None:
    slurm.ask("scontrol", "requeue", number)


def notify(slurm: Cluster, number: str) -> None:
    # One that is just being requeued scancel tries to reach for a minute and a half.
    with contextlib.suppress(subprocess.TimeoutExpired):
        slurm.ask("scancel", "--signal=USR2", number, timeout_s=5)


def kill_node(slurm: Cluster, number: str) -> None:
    node = slurm.ask("squeue", "--noheader", "--format=%N", f"--job={number}")
    if node:
        slurm.kill(node)
        slurm.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=dead")
        slurm.start(node)


# A node takes its time to die: the sweep may be over by then. At the third turn it is the driver.
WAYS = (cancel, requeue, None, notify, kill_node)


def training(slurm: Cluster) -> list[str]:
    """Return the elements that have run for two seconds: they train by now."""
    said = slurm.ask("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i|%M")
    rows = [line.split("|") for line in said.splitlines()]
    return [number for number, elapsed in rows if (seconds_said(elapsed) or 0) >= 2]


def storm(workspace: Workspace, slurm: Cluster, folder: Path, count: int) -> int:
    """Return how many interruptions there were; the sweep is over then."""
    chance = random.Random(count)
    done = 0
    while is_driven(folder):
        time.sleep(chance.random() * 0.3)
        running = training(slurm)
        if done >= count or not running:
            continue
        way = WAYS[done % len(WAYS)]
        if way is None:
            kill_driver(folder)
            drive(workspace.project, folder)
        else:
            # It may have come to its end just then.
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                way(slurm, chance.choice(running))
        done += 1
    return done


@pytest.mark.parametrize(
    ("trials", "pace", "interruptions"),
    [
        (10, "0.25", 3),
        pytest.param(200, "0.25", 40, marks=[pytest.mark.long, pytest.mark.timeout(1500)]),
    ],
)
def test_a_storm_on_the_cluster_changes_no_result(
    workspace: Workspace, slurm: Cluster, trials: int, pace: str, interruptions: int
) -> None:
    """Elements are cancelled, requeued and killed with their nodes, and so is the driver."""
    folder = swept(workspace, f"seed=1..{trials}", arguments=(pace,), max_running=6)
    assert storm(workspace, slurm, folder, interruptions) >= interruptions
    assert standing(workspace, folder).states == {State.SUCCEEDED: trials}
    again = 0
    for trial in range(1, trials + 1):
        x = float((run_dir(workspace, trial) / "outputs" / "x").read_text())
        assert x == expected(trial)
        again += len(folders.attempts(run_dir(workspace, trial))) > 1
    assert again


@pytest.mark.parametrize(("largest", "size"), [(1001, 1000), (20001, 10000), (999, 100), (1, 1)])
def test_arrays_are_as_large_as_the_cluster_allows(largest: int, size: int) -> None:
    assert block_of(largest) == size


@pytest.mark.parametrize(
    ("trial", "size", "pattern", "index"),
    [
        (7, 1000, "s-0%3a", 7),
        (1007, 1000, "s-1%3a", 7),
        (12007, 1000, "s-12%3a", 7),
        (7, 10000, "s-%4a", 7),
        (12007, 10000, "s-1%4a", 2007),
        (7, 100000, "s-%4a", 7),
        (100007, 100000, "s-1%5a", 7),
        (207, 10, "s-020%1a", 7),
        (7, 1, "s-0007", 0),
    ],
)
def test_a_log_lies_in_the_run_folder_of_its_own_job(
    trial: int, size: int, pattern: str, index: int
) -> None:
    assert log_pattern("s", trial // size, size) == pattern
    assert trial % size == index


@pytest.mark.long
def test_a_trial_that_a_person_has_interrupted_goes_on_elsewhere(
    workspace: Workspace, slurm: Cluster, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    folder = swept(workspace, "n=1,2", task="wait", arguments=(str(go),))
    until(lambda: {state(workspace, 1), state(workspace, 2)} == {State.RUNNING})
    first = run_dir(workspace, 1)
    interrupt(first, reason="test")
    until(lambda: not folders.is_alive(first))
    record = relocate(workspace, folders.read_record(first), "local", silent)
    assert len(slurm.jobs()) == 1
    resume(workspace, record)
    until(lambda: state(workspace, 1) is State.RUNNING)
    go.touch()
    assert over(workspace, folder).states == {State.SUCCEEDED: 2}
    assert folders.attempts(first) == [1, 2]
    assert folders.read_record(first).target == "local"
