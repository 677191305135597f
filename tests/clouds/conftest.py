"""A server that speaks AWS, and folders of buckets: on that server, and of this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from perdure.clouds.opening import open_folder
from perdure.clouds.side.bucket import Bucket
from perdure.moving.address import Address

KEYS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
REGION = "eu-central-1"


@pytest.fixture(scope="session")
def _aws_server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(_aws_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the address of an AWS with nothing in it, to which this process's variables lead."""
    import urllib.request

    for name in [*os.environ]:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", _aws_server)
    monkeypatch.setenv("AWS_REGION", REGION)
    urllib.request.urlopen(f"{_aws_server}/moto-api/reset", data=b"", timeout=120).close()
    return _aws_server


@pytest.fixture
def s3(aws: str) -> Address:
    """Return a folder of a new bucket."""
    place = {"LocationConstraint": REGION}
    boto3.client("s3", region_name=REGION).create_bucket(
        Bucket="lab", CreateBucketConfiguration=place
    )
    return Address("s3", "lab", "some folder/cats")


@pytest.fixture(params=["s3", "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    """Return each kind of bucket in turn."""
    if request.param == "file":
        return Address("file", "", str(tmp_path / "a bucket"))
    found = request.getfixturevalue("s3")
    assert isinstance(found, Address)
    return found


@pytest.fixture
def bucket(address: Address) -> Bucket:
    """Return each kind of bucket in turn, open."""
    return open_folder(address)
