from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.jobs import elsewhere
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.model.settings import Settings, TargetSettings
from perdure.targets.registry import open_target
from perdure.targets.remote import Remote
from tests.contract.target import Harness, TargetContract
from tests.engines.hosts import Hosts
from tests.jobs.projects import make_project


@pytest.fixture
def settings(hosts_here: Hosts, tmp_path: Path) -> Iterator[Settings]:
    root = hosts_here.place("gpu1") / f"jobs of {tmp_path.parent.name}{tmp_path.name}"
    hosts_here.run("gpu1", "install", "-d", "-o", "ada", str(root))
    gpu1 = TargetSettings("ada@gpu1", engine="process", root=f"{root}/a 'b$(x)")
    yield Settings(targets=MappingProxyType({"gpu1": gpu1}))
    hosts_here.run("gpu1", "pkill", "-9", "-f", str(root))
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def workspace(settings: Settings, tmp_path: Path) -> Workspace:
    project = make_project(tmp_path / "a 'project$(x)\n\u00e9", {"train.py": ""})
    return Workspace(project, settings)


def remote(workspace: Workspace) -> Remote:
    found = open_target("gpu1", workspace.project, workspace.settings)
    assert isinstance(found, Remote)
    return found


def recorded(workspace: Workspace, *command: str) -> JobRecord:
    request = JobRequest(command=command, grace_s=1.0, retries=0, seed=1, target="gpu1")
    job = submit(workspace, request)
    elsewhere.send_folder(remote(workspace).place, job)
    return job


@pytest.fixture
def harness(workspace: Workspace) -> Harness:
    def job(script: str, *arguments: str) -> JobRecord:
        return recorded(workspace, "sh", "-c", script, "sh", *arguments)

    return Harness(remote(workspace), job)


class TestProcessElsewhere(TargetContract):
    pass
