"""Layers of images in a bucket: sent once, in parts; fetched whole, or told to be damaged."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
from pathlib import Path

import pytest

from perdure.clouds.side import keys, layers
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.layers import Layer, Packed, packed_of
from perdure.errors import StorageError

NOISE = random.Random(1).randbytes(2500)
KINDS = {"as it is": b"words " * 1000, "packed": gzip.compress(NOISE, mtime=0), "empty": b""}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "PART_BYTES", 1000)


def sent(bucket: Bucket, content: bytes) -> Layer:
    digest = hashlib.sha256(content).hexdigest()
    layers.send(bucket, digest, io.BytesIO(content), lambda _: None)
    return Layer(f"blobs/sha256/{digest}", digest, len(content))


def put(bucket: Bucket, *made: Layer) -> Packed:
    packed = Packed("cats:1", ("sha256:a",), made, {"manifest.json": b"[]"}, {"a": "../b"})
    bucket.put(keys.image("sha256:1d"), packed.text())
    return packed


def test_what_was_sent_is_fetched_and_nothing_is_sent_twice(bucket: Bucket, tmp_path: Path) -> None:
    made = [sent(bucket, content) for content in KINDS.values()]
    packed, folder = put(bucket, *made), tmp_path / "a folder"
    assert layers.find(bucket, "sha256:1d") == packed
    assert layers.find(bucket, "sha256:2d") is None
    layers.fetch(bucket, packed, folder)
    assert [(folder / each.digest).read_bytes() for each in made] == [*KINDS.values()]
    there = bucket.names("layers/").items()
    sizes = [sum(size for key, size in there if f"/{each.digest}/" in key) for each in made]
    # Compressed where that is worth it, and as it is where it was done before.
    assert sizes[0] < made[0].size / 10
    assert sizes[1] == made[1].size


def test_an_upload_that_broke_off_goes_on(bucket: Bucket) -> None:
    made = sent(bucket, NOISE)
    bucket.delete([keys.layer(made.digest), keys.layer_part(made.digest, 1)])
    put(bucket, made)
    assert layers.find(bucket, "sha256:1d") is None
    sizes = bucket.names("layers/")
    count = layers.send(bucket, made.digest, io.BytesIO(NOISE), lambda _: None)
    assert 1000 <= count < 1100
    assert sizes.items() < bucket.names("layers/").items()
    assert layers.find(bucket, "sha256:1d") is not None


@pytest.mark.parametrize("content", [b"no zlib", b"", None])
def test_what_is_damaged_is_told_and_sent_again(
    bucket: Bucket, tmp_path: Path, content: bytes | None
) -> None:
    made = sent(bucket, NOISE)
    packed, key = put(bucket, made), keys.layer_part(made.digest, 1)
    other = bucket.get(keys.layer_part(made.digest, 0))
    assert other is not None
    bucket.put(key, other.data if content is None else content)
    with pytest.raises(StorageError, match="is not what was put there"):
        layers.fetch(bucket, packed, tmp_path / "folder")
    assert layers.find(bucket, "sha256:1d") is None
    assert sent(bucket, NOISE) == made
    layers.fetch(bucket, packed, tmp_path / "folder")


def test_what_is_not_what_it_is_called_is_refused(bucket: Bucket) -> None:
    with pytest.raises(StorageError, match="not what its engine calls it"):
        layers.send(bucket, "0" * 64, io.BytesIO(NOISE), lambda _: None)
    assert not bucket.names("layers/")
    for text in (b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1}'):
        with pytest.raises(StorageError, match="cannot be read"):
            packed_of(text)
