"""Jobs in real containers: the contract of all targets, and what only containers have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed, PerdureError, TimeoutExpired
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import ImageUsed, JobRecord
from perdure.model.settings import Settings
from perdure.targets.container import Container, open_container
from tests.contract.target import Harness, TargetContract
from tests.engines.engines import RealEngine
from tests.engines.small import BASE, contained, small_image
from tests.jobs.projects import make_project
from tests.waiting import until


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


def test_a_container_that_does_not_begin_in_time_is_ended(harness: Harness) -> None:
    target = harness.target
    assert isinstance(target, Container)
    job = harness.job("echo begun")
    plan = target.plan(job)
    with pytest.raises(TimeoutExpired, match=r"did not start in 0\.02 s"):
        replace(target, start_s=0.02).submit(plan, job.job)
    assert target.find(job.job) is None
    handle = target.submit(plan, job.job)
    until(lambda: b"begun" in target.logs(handle))


def test_an_image_that_is_gone_is_told(harness: Harness) -> None:
    job = harness.job("true")
    image = job.environment.image
    assert image is not None
    gone = replace(job.environment, image=replace(image, id="", tag="perdure-tests/none:1"))
    plan = harness.target.plan(replace(job, environment=gone))
    with pytest.raises(EnvironmentFailed, match="refused to start") as caught:
        harness.target.submit(plan, job.job)
    assert "No such image" in caught.value.message


def test_an_image_without_a_supervisor_says_its_last_words(
    harness: Harness, engine: RealEngine
) -> None:
    job = harness.job("true")
    bare = engine.docker("images", "--quiet", "--no-trunc", BASE)
    image = ImageUsed(BASE, bare, 1000, 1000)
    plan = harness.target.plan(replace(job, environment=replace(job.environment, image=image)))
    argv = tuple("--entrypoint=python3" if w == "--entrypoint=python" else w for w in plan.argv)
    with pytest.raises(PerdureError, match=r"did not start \(exit code 2\)") as caught:
        harness.target.submit(replace(plan, argv=argv), job.job)
    assert "/opt/perdure" in str(caught.value.hint)
