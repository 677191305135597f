"""Sweeps whose trials are Jobs of a real Kubernetes, and what interrupts them there."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill, wait_until_stopped
from perdure.jobs.lifecycle import read_status
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobStatus, Resources, State
from perdure.model.settings import KubernetesSettings, Settings, TargetSettings
from perdure.sweeps import control
from perdure.sweeps.control import drive
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.standing import standing
from perdure.sweeps.submit import SweepRequest, outline, submit
from perdure.targets import kubernetes_cluster, shelf
from perdure.targets.kubernetes_array import INDEX
from perdure.targets.kubernetes_manifest import JOB
from perdure.targets.protocol import Handle
from perdure.targets.registry import open_target
from tests.engines import kubectl_indexed
from tests.engines.kubernetes import BIN, CLAIM, NAMESPACE, USER_ID, Cluster
from tests.jobs.projects import make_project
from tests.sweeps.conftest import end_all, kill_driver
from tests.sweeps.sweeping import over
from tests.sweeps.test_storm import STEPS, TRAIN, expected
from tests.waiting import until

PATIENCE_S = 240.0
NAME = "k8s"
PYPROJECT = """\
[project]
name = "cats"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.targets.k8s]
kind = "kubernetes"
namespace = "{namespace}"
image = "{image}"
results = "{claim}"
"""


@pytest.fixture
def workspace(kubernetes: Cluster, kubernetes_image: str, tmp_path: Path) -> Iterator[Workspace]:
    """Return a project whose target `k8s` is the Kubernetes of the tests, in a hostile folder."""
    kubernetes_cluster.forget()
    text = PYPROJECT.format(namespace=NAMESPACE, image=kubernetes_image, claim=CLAIM)
    # The driver is a process of its own, and reads what the project says.
    files = {"train.py": TRAIN.replace("0.004", "float(sys.argv[1])"), "pyproject.toml": text}
    root = tmp_path / "my 'pro$(ject) 100%"
    project = make_project(root, files, train="python3 train.py", wrong="false")
    for path in (root, *root.rglob("*")):
        os.chown(path, USER_ID, USER_ID)
    own = KubernetesSettings(kubernetes_image, CLAIM, namespace=NAMESPACE)
    target = TargetSettings("", "kubernetes", "kubernetes", sync="none", kubernetes=own)
    made = Workspace(project, Settings(targets=MappingProxyType({NAME: target})))
    yield made
    end_all(made)


def swept(workspace: Workspace, axis: str, pause: str, max_running: int | None = None) -> Path:
    """Return the folder of a sweep in the cluster that is driven."""
    job = JobRequest(
        "train",
        (pause,),
        grace_s=5.0,
        retries=0,
        seed=1,
        target=NAME,
        resources=Resources(cpus=0.1),
    )
    request = SweepRequest(job, parse_axes((axis,)), name="sweep", max_running=max_running)
    folder = submit(workspace, outline(workspace, request))
    assert drive(workspace.project, folder)
    return folder


def run_dir(workspace: Workspace, trial: int) -> Path:
    return workspace.project.results / f"sweep-{trial:04d}"


def job_of(workspace: Workspace, pod: dict[str, Any]) -> str:
    """Return whose pod it is: an array's pods are told apart by their indices."""
    index = pod["metadata"]["labels"].get(INDEX)
    return f"sweep-{int(index) + 1:04d}" if index else pod["metadata"]["annotations"][JOB]


def that_trains(workspace: Workspace, kubernetes: Cluster, but: int = 0) -> tuple[int, str, str]:
    """Return a trial in its first attempt that has come some steps far, its pod, and its node."""
    found: list[tuple[int, str, str]] = []

    def there() -> bool:
        for pod in kubernetes.pods():
            job = job_of(workspace, pod)
            status = read_status(workspace.project.results / job)
            if int(job[-4:]) == but or status.attempt != 1:
                continue
            if 3 <= (status.step or 0) < STEPS / 2:
                place = (pod["metadata"]["name"], pod["spec"]["nodeName"])
                found.append((int(job[-4:]), *place))
        return bool(found)

    until(there)
    return found[0]


def came_to(workspace: Workspace, trial: int) -> float:
    """Return what a trial came to, fetched from the volume."""
    folder = run_dir(workspace, trial)
    target = open_target(NAME, workspace.project, workspace.settings)
    target.collect(Handle(NAME, folder.name, folder))
    return float((folder / "outputs" / "x").read_text())


@pytest.mark.parametrize(
    "trials", [4, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_interrupted_trials_and_drivers_change_no_result(
    workspace: Workspace, kubernetes: Cluster, trials: int
) -> None:
    """A pod is deleted, a node is drained, and the process that drives the sweep is killed."""
    folder = swept(workspace, f"seed=1..{trials}", "0.1", max_running=4)
    deleted, pod, _ = that_trains(workspace, kubernetes)
    kubernetes.ask("delete", "pod", pod, "--wait=false")
    interrupted = {deleted}
    kill_driver(folder)
    assert drive(workspace.project, folder)
    if trials > 4:
        drained, _, node = that_trains(workspace, kubernetes, but=deleted)
        kubernetes.drain(node)
        kubernetes.ask("uncordon", node)
        interrupted.add(drained)
    found = over(workspace, folder, PATIENCE_S)
    assert found.states == {State.SUCCEEDED: trials}
    again = {n for n in range(1, trials + 1) if len(folders.attempts(run_dir(workspace, n))) > 1}
    assert again >= interrupted
    assert len(interrupted) == (2 if trials > 4 else 1)
    for trial in found.trials:
        assert trial.metrics["x"].last == expected(trial.number)
        assert came_to(workspace, trial.number) == expected(trial.number)
    until(lambda: kubernetes.pods() == [])


@pytest.mark.long
def test_the_machine_that_drives_it_may_be_away_until_all_have_ended(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    folder = swept(workspace, "seed=1..3", "0.02")
    until(lambda: len(kubernetes.listed("jobs")) == 3)
    kill_driver(folder)
    until(lambda: not kubernetes.pods())
    assert drive(workspace.project, folder)
    assert over(workspace, folder, PATIENCE_S).states == {State.SUCCEEDED: 3}
    for trial in range(1, 4):
        assert folders.attempts(run_dir(workspace, trial)) == [1]


@pytest.fixture
def newer(tmp_path: Path, kubernetes: Cluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a kubectl keeps the Indexed Jobs that it was given, as of a newer cluster."""
    del kubernetes  # it is there
    kept, folder = tmp_path / "kept", tmp_path / "bin"
    kept.mkdir()
    folder.mkdir()
    program = folder / "kubectl"
    words = (sys.executable, kubectl_indexed.__file__, str(kept), str(BIN / "kubectl"))
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return kept


@pytest.mark.long
def test_where_the_server_has_them_trials_are_the_indices_of_one_job(
    workspace: Workspace, kubernetes: Cluster, newer: Path
) -> None:
    folder = swept(workspace, "seed=1..3", "0.3")
    deleted, pod, _ = that_trains(workspace, kubernetes)
    (made,) = [json.loads(each.read_text()) for each in newer.iterdir()]
    assert made["spec"]["completionMode"] == "Indexed"
    assert (made["spec"]["completions"], made["spec"]["parallelism"]) == (3, 3)
    kubernetes.ask("delete", "pod", pod, "--wait=false")
    kill_driver(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder, PATIENCE_S).states == {State.SUCCEEDED: 3}
    again = [n for n in range(1, 4) if len(folders.attempts(run_dir(workspace, n))) > 1]
    assert again == [deleted]
    for trial in range(1, 4):
        assert came_to(workspace, trial) == expected(trial)
    assert len(list(newer.iterdir())) == 1


@pytest.mark.long
def test_more_of_one_job_with_indices_run_at_a_time_once_that_is_wanted(
    workspace: Workspace, kubernetes: Cluster, newer: Path
) -> None:
    folder = swept(workspace, "seed=1..4", "0.5", max_running=1)
    that_trains(workspace, kubernetes)
    assert len(kubernetes.pods()) == 1
    control.extend(folder, {}, max_running=3)
    until(lambda: len(kubernetes.pods()) == 3)
    kill_driver(folder)
    control.extend(folder, {}, max_running=2)
    assert drive(workspace.project, folder)
    (kept,) = newer.iterdir()
    until(lambda: json.loads(kept.read_text())["spec"]["parallelism"] == 2)
    assert over(workspace, folder, PATIENCE_S).states == {State.SUCCEEDED: 4}
    assert [folders.attempts(run_dir(workspace, n)) for n in range(1, 5)] == [[1]] * 4


@pytest.mark.long
@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_stopped_it_leaves_the_cluster(
    workspace: Workspace,
    kubernetes: Cluster,
    request: pytest.FixtureRequest,
    dead: bool,
    indexed: bool,
) -> None:
    if indexed:
        request.getfixturevalue("newer")
    folder = swept(workspace, "seed=1..3", "0.3", max_running=2)
    that_trains(workspace, kubernetes)
    if dead:
        kill_driver(folder)
    assert control.stop(folder, PATIENCE_S)
    until(lambda: not kubernetes.pods())
    found = standing(workspace, folder)
    assert set(found.states) <= {State.INTERRUPTED, State.QUEUED, State.LOST}, found.states
    control.go_on(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder, PATIENCE_S).states == {State.SUCCEEDED: 3}
    for trial in range(1, 4):
        assert came_to(workspace, trial) == expected(trial)


@pytest.mark.long
def test_of_one_job_with_indices_a_trial_is_killed_and_another_never_begins(
    workspace: Workspace, kubernetes: Cluster, newer: Path
) -> None:
    # The pod that has the volume is there before nothing else has room.
    open_target(NAME, workspace.project, workspace.settings).place.host.call(shelf.cores)
    kubernetes.ask("cordon", "node1")
    kubernetes.ask("cordon", "node2")
    kubernetes.disturb()
    folder = swept(workspace, "seed=1..3", "0.3")
    until(lambda: len(kubernetes.pods()) == 3)
    assert kill(run_dir(workspace, 2), timeout_s=120) == "confirmed"
    kubernetes.restore()
    first, _, _ = that_trains(workspace, kubernetes)
    assert kill(run_dir(workspace, first), timeout_s=120) == "confirmed"
    found = over(workspace, folder, PATIENCE_S)
    assert found.states == {State.SUCCEEDED: 1, State.CANCELLED: 2}
    assert folders.attempts(run_dir(workspace, 2)) in ([], [1])
    until(lambda: not kubernetes.pods())


@pytest.mark.long
def test_trials_that_wait_for_another_pod_are_killed_and_interrupted(
    workspace: Workspace, kubernetes: Cluster, newer: Path
) -> None:
    open_target(NAME, workspace.project, workspace.settings).place.host.call(shelf.cores)
    folder = swept(workspace, "seed=1..2", "1")

    def both() -> list[JobStatus]:
        return [read_status(run_dir(workspace, trial)) for trial in (1, 2)]

    until(lambda: all((each.step or 0) > 2 for each in both()))
    kill_driver(folder)
    kubernetes.disturb()
    kubernetes.ask("cordon", "node1")
    kubernetes.ask("cordon", "node2")
    for pod in kubernetes.pods():
        kubernetes.ask("delete", "pod", pod["metadata"]["name"], "--wait=false")
    until(lambda: {each.reason for each in both()} == {"Unschedulable"})
    assert kill(run_dir(workspace, 1), timeout_s=20) == "confirmed"
    interrupt(run_dir(workspace, 2), reason="perdure interrupt")
    assert wait_until_stopped(run_dir(workspace, 2), timeout_s=20)
    told = [(each.state, each.attempt, each.step) for each in both()]
    assert [each[0] for each in told] == [State.CANCELLED, State.INTERRUPTED]
    kubernetes.restore()
    # Their pods come, and find that all is over.
    until(lambda: not kubernetes.pods())
    assert [(each.state, each.attempt, each.step) for each in both()] == told
    assert drive(workspace.project, folder)
    assert over(workspace, folder, PATIENCE_S).states == {State.SUCCEEDED: 1, State.CANCELLED: 1}
    assert came_to(workspace, 2) == expected(2)
