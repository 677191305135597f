"""A server that speaks AWS, and folders of buckets: on that server, and of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from perdure.clouds.opening import open_folder
from perdure.clouds.side.bucket import Bucket
from perdure.moving.address import Address
from tests.engines import amazon

REGION = "eu-central-1"


@pytest.fixture(scope="session")
def _aws_server() -> Iterator[str]:
    with amazon.serve() as server:
        yield server


@pytest.fixture
def aws(_aws_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the address of an AWS with nothing in it, to which this process's variables lead."""
    amazon.lead(_aws_server, monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_REGION", REGION)
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
