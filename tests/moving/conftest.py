"""A project with hostile names in it, and buckets: of servers on loopback, and a folder."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from perdure.hosts.ssh import Ssh
from perdure.moving.address import Address
from perdure.moving.far import Far
from tests.engines import amazon, azure, google
from tests.engines.hosts import Hosts
from tests.moving.trees import Project, fill


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with data in it: hostile names, an empty folder, links."""
    root = tmp_path / "a project"
    fill(root / "data")
    return Project(root)


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[str]:
    with amazon.serve() as server:
        yield server


@pytest.fixture
def s3(_s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Address:
    """Return a folder of a new bucket, which this process's variables lead to."""
    amazon.lead(_s3_server, monkeypatch, tmp_path)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="lab")
    return Address("s3", "lab", "some folder/cats")


@pytest.fixture(scope="session")
def _azure_server() -> Iterator[int]:
    with azure.serve() as port:
        yield port


@pytest.fixture
def az(_azure_server: int, monkeypatch: pytest.MonkeyPatch) -> Address:
    """Return a folder of a new container, which this process's variables lead to."""
    for name in [*os.environ]:
        if name.startswith("AZURE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", azure.ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azure.KEY)
    server = f"http://127.0.0.1:{_azure_server}/{azure.ACCOUNT}"
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", server)
    name = f"lab{uuid.uuid4().hex}"
    azure.make_container(_azure_server, name)
    return Address("az", name, "some folder/cats")


@pytest.fixture(scope="session")
def _google_server() -> Iterator[str]:
    with google.serve() as server:
        yield server


@pytest.fixture
def gs(_google_server: str, monkeypatch: pytest.MonkeyPatch) -> Address:
    """Return a folder of a new bucket, which this process's variables lead to."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", _google_server.removeprefix("http://"))
    name = f"lab{uuid.uuid4().hex}"
    google.make_bucket(_google_server, name)
    return Address("gs", name, "some folder/cats")


SERVED = ["s3", "gs", pytest.param("az", marks=pytest.mark.install)]


@pytest.fixture(params=[*SERVED, "file"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    """Return each kind of bucket in turn."""
    if request.param == "file":
        return Address("file", "", str(tmp_path / "a bucket"))
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Address)
    return found


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest) -> Address:
    """Return a bucket of each provider in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Address)
    return found


@pytest.fixture
def folder(hosts_here: Hosts) -> Iterator[Path]:
    """Return a folder of gpu1's that this process sees too, with a name that breaks quoting."""
    made = hosts_here.place("gpu1") / f"it's a [place] {uuid.uuid4().hex}"
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def far(folder: Path) -> Far:
    """Return where the project lies on gpu1."""
    return Far(Ssh("gpu1", "gpu1"), str(folder))


@pytest.fixture(params=["rsync", "tar"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have files go by each way in turn."""
    if request.param == "tar":
        monkeypatch.setattr("perdure.moving.rsync.is_here", lambda: False)
    return str(request.param)
