"""Jobs in podman's containers: the contract of all targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.model.settings import Docker, Settings
from perdure.targets.container import open_container
from perdure.targets.invocation import container_name
from tests.contract.target import Harness, TargetContract
from tests.engines.engines import RealEngine
from tests.engines.small import contained, small_image
from tests.jobs.projects import make_project

SETTINGS = Settings(docker=Docker(program="podman"))


@pytest.fixture
def workspace(tmp_path: Path, podman_engine: RealEngine) -> Iterator[Workspace]:
    project = make_project(tmp_path / "a, 'project$(x):\n\u00e9\" ", {"train.py": ""})
    yield Workspace(project, SETTINGS)
    # Podman takes a comma in a filter for the end of it, and the path of this project has one.
    named = f"name={container_name(project.root, '')}"
    for name in podman_engine.docker("ps", "--all", "--quiet", "--filter", named).split():
        podman_engine.docker("rm", "--force", name, check=False)


@pytest.fixture
def harness(workspace: Workspace, podman_engine: RealEngine) -> Harness:
    image = small_image(podman_engine)

    def job(script: str, *arguments: str) -> JobRecord:
        command = ("sh", "-c", script, "sh", *arguments)
        request = JobRequest(command=command, grace_s=1.0, retries=0, seed=1)
        return contained(submit(workspace, request), image)

    return Harness(open_container(workspace.project, workspace.settings), job)


class TestPodman(TargetContract):
    pass


def test_an_image_that_is_gone_is_told(harness: Harness) -> None:
    job = harness.job("true")
    image = job.environment.image
    assert image is not None
    gone = replace(job.environment, image=replace(image, id="", tag="perdure-tests/none:1"))
    plan = harness.target.plan(replace(job, environment=gone))
    with pytest.raises(EnvironmentFailed, match="refused to start") as caught:
        harness.target.submit(plan, job.job)
    assert "perdure-tests/none:1" in caught.value.message
