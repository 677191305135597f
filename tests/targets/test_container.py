"""Jobs in real containers: the contract of all targets, and what only containers have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.model.settings import Settings
from perdure.targets.container import open_container
from tests.contract.target import Harness, TargetContract
from tests.engines.engines import RealEngine
from tests.engines.small import contained, small_image
from tests.jobs.projects import make_project


@pytest.fixture
def workspace(tmp_path: Path, engine: RealEngine) -> Iterator[Workspace]:
    project = make_project(tmp_path / "a, 'project$(x):\n\u00e9\" ", {"train.py": ""})
    yield Workspace(project, Settings())
    label = f"label=perdure.project={project.root}"
    for name in engine.docker("ps", "--all", "--quiet", "--filter", label).split():
        engine.docker("rm", "--force", name, check=False)


@pytest.fixture
def harness(workspace: Workspace, engine: RealEngine) -> Harness:
    image = small_image(engine)

    def job(script: str, *arguments: str) -> JobRecord:
        command = ("sh", "-c", script, "sh", *arguments)
        request = JobRequest(command=command, grace_s=1.0, retries=0, seed=1)
        return contained(submit(workspace, request), image)

    return Harness(open_container(workspace.project, workspace.settings), job)


class TestContainer(TargetContract):
    pass
