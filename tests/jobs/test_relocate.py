"""Where a job can go on, as far as nobody has to be asked; `tests/targets` and `tests/e2e` ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import EnvironmentFailed, UsageError
from perdure.jobs import folder as folders
from perdure.jobs import image as images
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.relocate import relocate
from perdure.jobs.workspace import Workspace
from perdure.model.job import ImageUsed, JobRecord
from perdure.model.report import silent
from perdure.model.settings import KubernetesSettings, Settings, TargetSettings
from perdure.targets.registry import open_target
from tests.engines.engines import RealEngine
from tests.jobs.projects import make_project

OWN = "registry.example.org/cats:3"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    own = KubernetesSettings(OWN, "claim", namespace="research", context="nowhere")
    k8s = TargetSettings("", "kubernetes", "kubernetes", sync="none", kubernetes=own)
    settings = Settings(targets=MappingProxyType({"k8s": k8s}))
    return Workspace(make_project(tmp_path / "cats", {"train.py": ""}), settings)


@pytest.fixture
def record(workspace: Workspace) -> JobRecord:
    return submit(workspace, JobRequest(command=("true",), seed=1))


def in_image(record: JobRecord, tag: str, *, lock: str | None = "a lock") -> JobRecord:
    image = ImageUsed(tag, "sha256:1", 1000, 1000)
    environment = replace(record.environment, prefix=None, lock=lock, image=image)
    moved = replace(record, target="docker", environment=environment)
    folders.write_record(moved)
    return moved


def test_a_process_goes_into_no_pod_and_an_image_becomes_no_process(
    workspace: Workspace, record: JobRecord
) -> None:
    with pytest.raises(UsageError, match="in an installed environment, and jobs there in an image"):
        relocate(workspace, record, "k8s", silent)
    with pytest.raises(UsageError, match="in an image, and jobs there in an installed environment"):
        relocate(workspace, in_image(record, OWN), "local", silent)


def test_an_image_of_the_users_own_is_the_jobs_only_if_it_is_that_one(
    workspace: Workspace, record: JobRecord
) -> None:
    target = open_target("k8s", workspace.project, workspace.settings)
    other = in_image(record, "cats:0123456789abcdef")
    with pytest.raises(UsageError, match=f"`{OWN}`.* runs in `cats:0123456789abcdef`") as error:
        images.image_there(workspace, target, other, silent)
    assert "`registry` in place of `image`" in str(error.value.hint)
    used = images.image_there(workspace, target, in_image(record, OWN), silent)
    assert used.image is not None
    # By its name there, with the lock that it is made from again elsewhere.
    assert (used.image.tag, used.image.id, used.lock) == (OWN, "", "a lock")


def test_an_image_of_the_users_own_has_to_be_there(
    workspace: Workspace, record: JobRecord, modern_engine: RealEngine
) -> None:
    del modern_engine  # this process's variables lead to it
    docker = open_target("docker", workspace.project, workspace.settings)
    own = in_image(record, "registry.example.org/no/such:1", lock=None)
    with pytest.raises(EnvironmentFailed, match="an image of your own") as error:
        images.image_there(workspace, docker, own, silent)
    assert error.value.hint == "docker pull registry.example.org/no/such:1"


def test_what_runs_the_working_tree_stays_with_it(workspace: Workspace) -> None:
    live = submit(workspace, JobRequest(command=("true",), seed=1, live=True))
    with pytest.raises(UsageError, match=r"runs the working tree .*not on `k8s`"):
        relocate(workspace, live, "k8s", silent)
