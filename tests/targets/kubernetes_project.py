"""Projects whose jobs a real Kubernetes runs, and a training that shows what it went through."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.jobs.folder import is_alive
from perdure.jobs.launch import JobRequest, begin, start, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import UNLIMITED, JobRecord, Resources
from perdure.model.settings import KubernetesSettings, Settings, TargetSettings
from perdure.targets import kubernetes_cluster
from perdure.targets.protocol import Handle
from perdure.targets.registry import open_target
from tests.engines.kubernetes import CLAIM, NAMESPACE, USER_ID, Cluster
from tests.jobs.projects import make_project
from tests.targets.slurm_project import TRAINING
from tests.targets.slurm_project import digest as digest_of
from tests.waiting import until

NAME = "k8s"
#: A lost node is given up at once: somebody waits for it here.
QUICK = (
    "spec.template.spec.tolerations.0.tolerationSeconds: 1",
    "spec.template.spec.tolerations.1.tolerationSeconds: 1",
)


@pytest.fixture(name="unknown_queue", autouse=True)
def forgotten() -> None:
    """Forget what another test's cluster said."""
    kubernetes_cluster.forget()


@pytest.fixture(name="shared", scope="module")
def one_project(kubernetes_image: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return one project for a module's tests: so the pod that has its volume is started once."""
    root = tmp_path_factory.mktemp("shared") / "a 'project$(x)%j\n\u00e9"
    return kubernetes_workspace(root, kubernetes_image)


@pytest.fixture(name="workspace")
def with_cluster(kubernetes: Cluster, shared: Workspace) -> Workspace:
    """Return that project, while the cluster is there."""
    del kubernetes  # it is there
    return shared


def kubernetes_workspace(root: Path, image: str, *, results: str = CLAIM) -> Workspace:
    """Return a project with the task `train` and the target `k8s`."""
    tasks = {"train": "python3 train.py", "here": f"{sys.executable} train.py"}
    project = make_project(root, {"train.py": TRAINING}, **tasks)
    for path in (root, *root.rglob("*")):
        os.chown(path, USER_ID, USER_ID)
    own = KubernetesSettings(image, results, namespace=NAMESPACE, lines=QUICK)
    target = TargetSettings("", "kubernetes", "kubernetes", sync="none", kubernetes=own)
    return Workspace(project, Settings(targets=MappingProxyType({NAME: target})))


def with_settings(workspace: Workspace, **changed: object) -> Workspace:
    """Return the workspace with other settings of its target."""
    before = workspace.settings.targets[NAME]
    assert before.kubernetes is not None
    own = replace(before.kubernetes, **changed)  # type: ignore[arg-type]
    target = replace(before, kubernetes=own)
    return replace(workspace, settings=Settings(targets=MappingProxyType({NAME: target})))


def started(
    workspace: Workspace,
    *arguments: str,
    grace_s: float = 5.0,
    resources: Resources = UNLIMITED,
) -> JobRecord:
    """Return a training that the cluster was given."""
    request = JobRequest(
        "train",
        arguments,
        seed=7,
        grace_s=grace_s,
        retries=0,
        target=NAME,
        resources=resources,
    )
    record = submit(workspace, request)
    begin(workspace, record)
    return record


_undisturbed: dict[str, str] = {}


def expected(workspace: Workspace, steps: str) -> str:
    """Return what the training comes to when nobody disturbs it, on this machine."""
    if steps not in _undisturbed:
        record = submit(workspace, JobRequest("here", (steps, "0"), seed=7, grace_s=5.0))
        start(workspace, record)
        until(lambda: not is_alive(record.folder))
        _undisturbed[steps] = digest_of(record)
    return _undisturbed[steps]


def digest(workspace: Workspace, record: JobRecord) -> str:
    """Return what a training in the cluster came to."""
    target = open_target(NAME, workspace.project, workspace.settings)
    target.collect(Handle(NAME, record.job, record.folder))
    return digest_of(record)
