"""A job in an image that goes on in a real cluster, and back in a container; and what keeps it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.errors import (
    ConflictError,
    EnvironmentFailed,
    HostUnreachable,
    PerdureError,
    UsageError,
)
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt
from perdure.jobs.launch import JobRequest, begin, resume, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.relocate import relocate
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, State
from perdure.model.report import silent
from perdure.runtime import names
from tests.e2e.chain import TRAINING
from tests.engines.kubernetes import USER_ID, Cluster
from tests.targets.kubernetes_project import (  # noqa: F401 - some are fixtures
    NAME,
    forgotten,
    one_project,
    with_cluster,
    with_settings,
)
from tests.targets.slurm_project import until_gone, until_step
from tests.targets.test_kubernetes_registry import pushing, registry  # noqa: F401 - fixtures
from tests.waiting import until

pytestmark = pytest.mark.long
LOCK = "version = 1\n"


@pytest.fixture
def locked(pushing: Workspace) -> Workspace:  # noqa: F811 - the fixture
    """Return the project with a lock, and a training whose result every step is part of."""
    for name, text in (("train.py", TRAINING), ("uv.lock", LOCK)):
        file = pushing.project.root / name
        file.write_text(text)
        os.chown(file, USER_ID, USER_ID)
    return pushing


def trained(workspace: Workspace, pause: str, target: str = "docker") -> JobRecord:
    """Return a training that has been started."""
    command = ("python3", "train.py", "60", pause)
    request = JobRequest(command=command, grace_s=5.0, retries=0, seed=7, target=target)
    record = submit(workspace, request)
    begin(workspace, record)
    return record


def stopped(record: JobRecord) -> JobRecord:
    """Return a job that a person has interrupted, once nobody has it any more."""
    interrupt(record.folder, reason="test")
    assert until_gone(record).state is State.INTERRUPTED
    return record


def moved(workspace: Workspace, record: JobRecord, name: str) -> JobRecord:
    """Return a job that was interrupted, once it goes on there."""
    found = relocate(workspace, folders.read_record(stopped(record).folder), name, silent)
    resume(workspace, found)
    return found


def refused(
    workspace: Workspace, record: JobRecord, name: str, kind: type[PerdureError], said: str
) -> None:
    before = folders.read_record(record.folder)
    with pytest.raises(kind, match=said):
        relocate(workspace, before, name, silent)
    assert folders.read_record(record.folder) == before


def result(record: JobRecord) -> str:
    return Path(record.folder, names.OUTPUTS, "result").read_text()


def test_a_job_goes_from_a_container_to_the_cluster_and_back(
    locked: Workspace,
    registry: str,  # noqa: F811 - the fixture
    kubernetes: Cluster,
) -> None:
    alone = trained(locked, "0")
    record = trained(locked, "0.2")
    until_step(record)
    built = record.environment.image
    away = moved(locked, record, NAME)
    until_step(away, attempt=2)
    assert len(kubernetes.pods()) == 1
    image = away.environment.image
    assert image is not None
    assert image.tag.startswith(f"{registry}/team/cats@sha256:")
    refused(locked, away, "docker", ConflictError, "is already running")
    back = moved(locked, away, "docker")
    assert back.environment.image is not None
    assert built is not None
    assert back.environment.image.id == built.id
    status = until_gone(back)
    assert (status.state, status.target, status.attempt) == (State.SUCCEEDED, "docker", 3)
    until_gone(alone)
    assert result(back) == result(alone)
    assert not (back.folder / names.KUBERNETES_FILE).exists()
    until(lambda: not kubernetes.pods())


def test_a_job_that_was_begun_in_the_cluster_comes_here_and_what_keeps_it(
    locked: Workspace, kubernetes: Cluster
) -> None:
    record = trained(locked, "0.2", NAME)
    until_step(record)
    refused(locked, record, "local", UsageError, "it runs in an image, and jobs there in an inst")
    stopped(record)
    kubernetes.stop_api()
    refused(locked, record, "docker", HostUnreachable, "the cluster|the connection")
    kubernetes.start_api()
    until(lambda: not read_status(record.folder).problem)
    lock = locked.project.root / "uv.lock"
    lock.write_text("version = 2\n")
    refused(locked, record, "docker", EnvironmentFailed, "the lock has changed since it was built")
    lock.write_text(LOCK)
    back = relocate(locked, folders.read_record(record.folder), "docker", silent)
    lock.write_text("version = 2\n")
    refused(locked, back, NAME, UsageError, "the lock has changed since")
    other = with_settings(locked, image="debian:bookworm-slim", registry=None)
    refused(other, back, NAME, UsageError, "nobody can say that they are one")
    lock.write_text(LOCK)
    resume(locked, back)
    assert until_gone(back).state is State.SUCCEEDED
