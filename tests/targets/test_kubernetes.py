"""Jobs of a real Kubernetes: the contract of all targets, and what only a cluster has."""

from __future__ import annotations

import pytest

from perdure.jobs import elsewhere
from perdure.jobs.launch import JobRequest, begin, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, State
from perdure.targets.kubernetes import Kubernetes
from perdure.targets.registry import open_target
from tests.contract.target import Harness, TargetContract
from tests.engines.kubernetes import DATA, Cluster
from tests.targets.kubernetes_project import (  # noqa: F401 - some are fixtures
    NAME,
    digest,
    expected,
    forgotten,
    one_project,
    started,
    with_cluster,
    with_settings,
)
from tests.targets.slurm_project import until_gone


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


def test_a_volume_of_data_is_the_projects_and_read_only(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    script = "cat data/cats.txt; (echo x > data/mine) 2>&1; (echo x > data/cats.txt) 2>&1; true"
    wanted = with_settings(workspace, data=DATA)
    request = JobRequest(command=("sh", "-c", script), retries=0, seed=1, target=NAME)
    record = submit(wanted, request)
    begin(wanted, record)
    status = until_gone(record)
    assert status.state is State.SUCCEEDED, status
    said = (record.folder / "logs" / "000001.log").read_text().splitlines()
    assert said[0] == "tabby"
    assert [line.rpartition(": ")[2] for line in said[1:]] == ["Read-only file system"] * 2
    # What it was trained with is known.
    assert record.data.files == 1
    assert (kubernetes.data / "cats.txt").read_text() == "tabby\n"
