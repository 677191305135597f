"""Jobs in containers of another host: the contract of all targets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import EnvironmentFailed
from perdure.hosts.engine_there import engine_there
from perdure.hosts.ssh import Ssh
from perdure.jobs import elsewhere
from perdure.jobs import image as images
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import UNLIMITED, EnvironmentUsed, JobRecord
from perdure.model.settings import Settings, TargetSettings
from perdure.targets.registry import open_target
from perdure.targets.remote import Remote
from tests.contract.target import Harness, TargetContract
from tests.engines.engines import RealEngine
from tests.engines.hosts import Hosts
from tests.engines.small import small_image
from tests.jobs.projects import make_project


@pytest.fixture
def settings(hosts_here: Hosts, tmp_path: Path) -> Iterator[Settings]:
    hosts_here.engine("gpu1")
    root = hosts_here.place("gpu1") / f"jobs of {tmp_path.parent.name}{tmp_path.name}"
    hosts_here.run("gpu1", "install", "-d", "-o", "ada", str(root))
    gpu1 = TargetSettings("ada@gpu1", engine="docker", root=f"{root}/a, 'b$(x)")
    yield Settings(targets=MappingProxyType({"gpu1": gpu1}))
    words = ("ps", "--all", "--format", '{{.Names}} {{.Label "perdure.project"}}')
    for line in hosts_here.run("gpu1", "docker", *words).out.splitlines():
        if str(root) in line:
            hosts_here.run("gpu1", "docker", "rm", "--force", line.split()[0])
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def remote(settings: Settings, tmp_path: Path) -> Remote:
    project = make_project(tmp_path / "a 'project$(x)\n\u00e9", {"train.py": ""})
    found = open_target("gpu1", project, settings)
    assert isinstance(found, Remote)
    return found


@pytest.fixture
def harness(settings: Settings, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> Harness:
    endpoint = engine_there(Ssh("gpu1", "ada@gpu1")).endpoint
    engine = RealEngine("gpu1", "/usr/bin/docker", {"DOCKER_HOST": endpoint}, Path())
    used = EnvironmentUsed(None, None, "", None, small_image(engine))
    monkeypatch.setattr(images, "image_for", lambda *_, **__: used)
    workspace = Workspace(remote.project, settings)

    def job(script: str, *arguments: str) -> JobRecord:
        command = ("sh", "-c", script, "sh", *arguments)
        request = JobRequest(command=command, grace_s=1.0, retries=0, seed=1, target="gpu1")
        record = submit(workspace, request)
        elsewhere.send_folder(remote.place, record)
        return record

    return Harness(remote, job)


class TestContainerElsewhere(TargetContract):
    pass


def test_an_engine_that_is_gone_is_told_without_a_word_of_this_machine(
    hosts_here: Hosts, remote: Remote
) -> None:
    assert remote.in_image
    hosts_here.engine("gpu1", "none")
    with pytest.raises(EnvironmentFailed, match=r"^`gpu1`: no container engine answers") as gone:
        remote.require(UNLIMITED)
    assert "--on local" not in str(gone.value.hint)
    assert '`engine = "process"`' in str(gone.value.hint)
