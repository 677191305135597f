"""The user's own files in a bucket, however large they are and whatever they are called."""

from __future__ import annotations

import os
from pathlib import Path

import obstore
import pytest

from perdure.clouds.opening import open_folder
from perdure.clouds.side import outputs
from perdure.clouds.side.bucket import PART_BYTES, Bucket
from perdure.clouds.side.outputs import Outputs
from perdure.moving.address import Address

LARGE = 2 * PART_BYTES + 5


def write(run_dir: Path, name: str, data: bytes) -> None:
    path = run_dir / "outputs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def read(run_dir: Path) -> dict[str, bytes]:
    base = run_dir / "outputs"
    return {os.fspath(each.relative_to(base)): each.read_bytes() for each in base.rglob("*.*")}


def test_large_and_small_ones_come_back(bucket: Bucket, tmp_path: Path) -> None:
    content = {"model.bin": os.urandom(LARGE), "a/b.txt": b"small", "none.txt": b""}
    for name, data in content.items():
        write(tmp_path / "first", name, data)
    first = Outputs(bucket, "otter", tmp_path / "first")
    assert first.send() == 3
    assert first.send() == 0
    Outputs(bucket, "otter", tmp_path / "second").bring()
    assert read(tmp_path / "second") == content


def test_a_large_one_goes_in_parts(s3: Address, tmp_path: Path) -> None:
    """A single put takes 5 GB on S3; of what came in parts the ETag says how many they were.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    bucket = open_folder(s3)
    write(tmp_path, "model.bin", bytes(LARGE))
    Outputs(bucket, "otter", tmp_path).send()
    meta = obstore.head(bucket.store, "jobs/otter/outputs/p/model.bin")
    assert str(meta["e_tag"]).strip('"').endswith("-3")


def test_one_that_is_replaced_while_it_comes_is_of_one_version(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [bytes(LARGE), b"1" * LARGE]
    write(tmp_path / "first", "model.bin", versions.pop(0))
    Outputs(bucket, "otter", tmp_path / "first").send()
    pieces = Bucket.pieces

    def replaced(self: Bucket, key: str) -> object:
        for each in pieces(self, key):
            yield each
            if versions:
                self.put(key, versions.pop(0))

    monkeypatch.setattr(Bucket, "pieces", replaced)
    Outputs(bucket, "otter", tmp_path / "second").bring()
    assert read(tmp_path / "second") == {"model.bin": b"1" * LARGE}


def test_what_no_bucket_takes_is_told_once_and_stays_behind(bucket: Bucket, tmp_path: Path) -> None:
    # Of these names a bucket has one of twice the length, and some below a folder are too long.
    long = "/".join(["ü" * 100] * 3 + ["name.txt"])
    write(tmp_path / "first", long, b"x")
    write(tmp_path / "first", "b.txt", b"y")
    told: list[str] = []
    sending = Outputs(bucket, "otter", tmp_path / "first", told.append)
    assert sending.send() == 1
    assert sending.send() == 0
    (only,) = told
    assert "too long" in only
    assert long in only
    Outputs(bucket, "otter", tmp_path / "second").bring()
    assert read(tmp_path / "second") == {"b.txt": b"y"}


def test_names_of_a_folder_of_this_machine_have_limits_of_their_own(tmp_path: Path) -> None:
    bucket = open_folder(Address("file", "", str(tmp_path / "bucket")))
    assert bucket.takes(outputs._encoded("a/" * 500 + "b"))
    assert not bucket.takes(outputs._encoded("ü" * 100))
