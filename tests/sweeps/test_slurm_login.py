"""Sweeps as arrays of a cluster that is reached by its login node."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill
from perdure.jobs.lifecycle import read_status
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.project import Project
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from perdure.sweeps import control
from perdure.sweeps.control import drive
from perdure.sweeps.holding import is_driven
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.standing import standing
from perdure.sweeps.submit import SweepRequest, explained, outline, submit
from tests.engines.hosts import Hosts
from tests.engines.slurm import Cluster
from tests.jobs.projects import make_project
from tests.sweeps.conftest import end_all, kill_driver
from tests.sweeps.sweeping import over
from tests.sweeps.test_slurm import cancel, notify, requeue, training
from tests.sweeps.test_storm import TRAIN as LOGISTIC
from tests.sweeps.test_storm import expected
from tests.targets.test_slurm_login import login
from tests.waiting import until

__all__ = ["login"]

TRIALS = 40
#: Logs its axis as a loss, and waits as long as it is told; asked to stop, it saves and stops.
TRAIN = """\
trap 'exit 75' TERM
mkdir -p "$PERDURE_RUN_DIR/metrics"
row='{"perdure": 1, "chain": []}\\n{"step": 1, "loss": %s}\\n'
printf "$row" "$3" >"$PERDURE_RUN_DIR/metrics/00000$PERDURE_ATTEMPT.jsonl"
echo "$* on $SLURMD_NODENAME"
i=0
while [ "$i" -lt "$1" ]; do i=$((i + 1)); sleep 0.1; done
"""


@pytest.fixture
def root(login: Hosts, tmp_path: Path) -> Iterator[Path]:
    """Return where the project lies on the login node."""
    above = login.place("gpu1") / f"sweeps of {tmp_path.parent.name}{tmp_path.name}"
    login.run("gpu1", "mkdir", "-p", str(above))
    yield above / "a 'b$(x)"
    shutil.rmtree(above, ignore_errors=True)


@pytest.fixture
def workspace(root: Path, tmp_path: Path) -> Iterator[Workspace]:
    project = make_project(
        tmp_path / "a 'project$(x) 100%", {"train.sh": TRAIN}, train="sh train.sh"
    )
    made = lab_workspace(project, root)
    yield made
    end_all(made)


def lab_workspace(project: Project, root: Path) -> Workspace:
    """Return a workspace whose target `lab` is the cluster by its login node."""
    lab = TargetSettings("root@gpu1", "slurm", "slurm", str(root), slurm=SlurmSettings())
    # The driver is a process of its own: it goes by what the files say.
    (project.root / ".perdure").mkdir()
    local = project.root / ".perdure" / "local.toml"
    local.write_text('[targets.lab]\nkind = "slurm"\nhost = "root@gpu1"\n')
    return Workspace(project, Settings(targets=MappingProxyType({"lab": lab})))


def request(*axes: str, seconds: float, max_running: int | None = None) -> SweepRequest:
    job = JobRequest(
        "train", (str(int(seconds * 10)),), grace_s=5.0, retries=0, seed=1, target="lab"
    )
    return SweepRequest(job, parse_axes(axes), name="far", max_running=max_running)


def swept(
    workspace: Workspace, *axes: str, seconds: float = 0.0, max_running: int | None = None
) -> Path:
    wanted = request(*axes, seconds=seconds, max_running=max_running)
    folder = submit(workspace, outline(workspace, wanted))
    assert drive(workspace.project, folder)
    return folder


def run_dir(workspace: Workspace, trial: int) -> Path:
    return workspace.project.results / f"far-{trial:04d}"


def state(workspace: Workspace, trial: int) -> State:
    return read_status(run_dir(workspace, trial)).state


def test_trials_are_elements_of_one_array_there_and_come_back(
    workspace: Workspace, root: Path, slurm: Cluster
) -> None:
    text = "\n".join(explained(workspace, outline(workspace, request("x=1..20", seconds=0.0)), 1))
    assert "#SBATCH --array=1-20\n" in text
    assert f"--chdir={root.parent}" in text
    folder = swept(workspace, "x=1..20")
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 20}
    (array,) = root.glob("*/.perdure/sweeps/far/arrays/*")
    assert 1 <= len(list(array.glob("held-*"))) < 20
    assert slurm.jobs() == []
    for trial in found.trials:
        assert trial.metrics["loss"].low == trial.number
        assert folders.attempts(run_dir(workspace, trial.number)) == [1]
        log = (run_dir(workspace, trial.number) / "logs" / "000001.log").read_text()
        assert log.startswith(f"0 --x {trial.number} on node")


def test_they_go_on_without_the_driver_and_are_jobs_like_any_other(
    workspace: Workspace, slurm: Cluster
) -> None:
    folder = swept(workspace, "x=1..6", seconds=4, max_running=3)
    until(lambda: state(workspace, 1) is State.RUNNING)
    kill_driver(folder)
    assert kill(run_dir(workspace, 6), timeout_s=120) == "confirmed"
    interrupt(run_dir(workspace, 1), reason="asked")
    assert drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 5, State.CANCELLED: 1}
    assert len(folders.attempts(run_dir(workspace, 1))) == 2
    assert [len(folders.attempts(run_dir(workspace, trial))) for trial in (2, 3, 4, 5)] == [1] * 4
    assert slurm.jobs() == []


@pytest.mark.long
@pytest.mark.parametrize("dead", [False, True])
def test_stopped_it_leaves_the_queue_there(
    workspace: Workspace, slurm: Cluster, dead: bool
) -> None:
    folder = swept(workspace, "x=1..4", seconds=3, max_running=2)
    until(lambda: state(workspace, 1) is State.RUNNING)
    if dead:
        kill_driver(folder)
    assert control.stop(folder, 60)
    until(lambda: slurm.jobs() == [])
    assert set(standing(workspace, folder).states) <= {State.INTERRUPTED, State.QUEUED}
    control.go_on(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 4}


def kill_supervisor(slurm: Cluster, number: str) -> None:
    """Kill the step of an element with all that it runs; Slurm ends the element."""
    slurm.ask("scancel", "--signal=KILL", number)


#: How a trial's element ends before its time; at the third turn it is the driver.
WAYS = (requeue, kill_supervisor, None, cancel, notify)


def storm(workspace: Workspace, slurm: Cluster, folder: Path, count: int) -> int:
    """Return how many interruptions there were; the sweep is over then."""
    chance = random.Random(count)
    done = 0
    while is_driven(folder):
        time.sleep(chance.random() * 0.3)
        running = training(slurm) if done < count else []
        if not running:
            continue
        way = WAYS[done % len(WAYS)]
        if way is None:
            kill_driver(folder)
            drive(workspace.project, folder)
        else:
            # It may have come to its end just then.
            with contextlib.suppress(AssertionError):
                way(slurm, chance.choice(running))
        done += 1
    return done


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_storm_by_the_login_node_changes_no_result(
    login: Hosts, root: Path, tmp_path: Path, slurm: Cluster
) -> None:
    """Elements are cancelled, requeued and killed, and so is the driver, which is far from them."""
    # This Python is there on the nodes, and not on the login node.
    start = f'exec {sys.executable} train.py "$@"\n'
    files = {"train.py": LOGISTIC.replace("0.004", "0.25"), "train.sh": start}
    project = make_project(tmp_path / "a project", files, train="sh train.sh")
    workspace = lab_workspace(project, root)
    job = JobRequest("train", (), grace_s=5.0, retries=0, seed=1, target="lab")
    asked = SweepRequest(job, parse_axes((f"seed=1..{TRIALS}",)), name="far", max_running=6)
    folder = submit(workspace, outline(workspace, asked))
    assert drive(workspace.project, folder)
    try:
        # Each way at least; how many there is time for is the machine's affair.
        assert storm(workspace, slurm, folder, 20) >= len(WAYS)
        assert standing(workspace, folder).states == {State.SUCCEEDED: TRIALS}
    finally:
        end_all(workspace)
    again = 0
    for trial in range(1, TRIALS + 1):
        (there,) = root.glob(f"*/results/far-{trial:04d}/outputs/x")
        assert float(there.read_text()) == expected(trial)
        again += len(folders.attempts(run_dir(workspace, trial))) > 1
    assert again
