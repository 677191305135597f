"""Jobs of a real Kubernetes: the contract of all targets, and what only a cluster has."""

from __future__ import annotations

import pytest

from perdure.jobs import elsewhere
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, State
from perdure.targets import kubernetes_cluster
from perdure.targets.kubernetes import Kubernetes
from perdure.targets.registry import open_target
from tests.contract.target import Harness, TargetContract
from tests.engines.kubernetes import Cluster
from tests.targets.kubernetes_project import (
    NAME,
    digest,
    expected,
    kubernetes_workspace,
    started,
)
from tests.targets.slurm_project import until_gone


@pytest.fixture(autouse=True)
def unknown_queue() -> None:
    """Forget what another test's cluster said."""
    kubernetes_cluster.forget()


@pytest.fixture(scope="module")
def shared(kubernetes_image: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return one project for all tests: so the pod that has its volume is started once."""
    root = tmp_path_factory.mktemp("shared") / "a 'project$(x)%j\n\u00e9"
    return kubernetes_workspace(root, kubernetes_image)


@pytest.fixture
def workspace(kubernetes: Cluster, shared: Workspace) -> Workspace:
    del kubernetes  # it is there
    return shared


def opened(workspace: Workspace) -> Kubernetes:
    found = open_target(NAME, workspace.project, workspace.settings)
    assert isinstance(found, Kubernetes)
    return found


def shell(workspace: Workspace, script: str, *arguments: str) -> JobRecord:
    command = ("sh", "-c", script, "sh", *arguments)
    request = JobRequest(command=command, grace_s=1.0, retries=0, seed=1, target=NAME)
    job = submit(workspace, request)
    elsewhere.send_folder(opened(workspace).place, job)
    return job


@pytest.fixture
def harness(workspace: Workspace) -> Harness:
    return Harness(opened(workspace), lambda *given: shell(workspace, *given))


class TestKubernetes(TargetContract):
    pass


def test_a_job_runs_in_a_pod_and_comes_to_what_it_comes_to_anywhere(workspace: Workspace) -> None:
    record = started(workspace, "20", "0")
    assert until_gone(record).state is State.SUCCEEDED
    assert digest(workspace, record) == expected(workspace, "20")
