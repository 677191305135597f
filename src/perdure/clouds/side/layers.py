"""The layers of images in a bucket, by the digests of what is in them, and what images they make.

A layer is sent once, in parts; a small object says last that all of them are there. An image is its
archive as `docker load` reads it: a manifest with the small files themselves and the layers by
digest, put once the layers are there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket
from perdure.errors import StorageError

FORMAT = 1
PART_BYTES = 16 << 20
WORKERS = 8
_FETCHERS = 16
# Beginnings of what is compressed already: gzip (RFC 1952), zstandard (RFC 8878).
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_QUICKLY = 1
_AGAIN = "perdure resume: what is missing is sent again"


class Layer(NamedTuple):
    """A file of an archive that is a layer: its path there, its SHA-256 in hex, its bytes."""

    path: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Packed:
    """An image's archive: layers, small files as they are, and links, each by path.

    `name` is what an engine calls the image once it has loaded that; `contents` are the digests of
    its layers as engines tell them.
    """

    name: str
    contents: tuple[str, ...]
    layers: tuple[Layer, ...] = ()
    small: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> bytes:
        """Return it as it is written. Pure."""
        small = {path: base64.b64encode(data).decode() for path, data in self.small.items()}
        values = {"name": self.name, "contents": self.contents, "layers": self.layers}
        rest = {"small": small, "links": dict(self.links)}
        return json.dumps({"format": FORMAT, **values, **rest}).encode()


def packed_of(text: bytes) -> Packed:
    """Return what `Packed.text` wrote. Pure.

    Raises:
        StorageError: it is none.
    """
    try:
        known = json.loads(text)
        if known["format"] != FORMAT:
            raise ValueError(known["format"])
        small = {path: base64.b64decode(data) for path, data in known["small"].items()}
        layers = tuple(
            Layer(str(path), str(digest), int(size)) for path, digest, size in known["layers"]
        )
        return Packed(known["name"], tuple(known["contents"]), layers, small, dict(known["links"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError("what the bucket says of an image cannot be read") from error


def find(bucket: Bucket, known: str) -> Packed | None:
    """Return the image of that id if the bucket has it, with all its layers. Asks it twice."""
    found = bucket.get(keys.image(known))
    if found is None:
        return None
    packed = packed_of(found.data)
    there = present(bucket)
    return packed if all(each.digest in there for each in packed.layers) else None


def present(bucket: Bucket) -> frozenset[str]:
    """Return the digests of the layers that are there whole."""
    found = bucket.flat(keys.LAYERS)
    return frozenset(each.removesuffix(".json") for each in found if each.endswith(".json"))


def send(bucket: Bucket, digest: str, content: IO[bytes], tell: Callable[[int], None]) -> int:
    """Return how many bytes went over; `content` is read to its end. Touches the network.

    `tell` is handed the bytes that were read. Parts that an earlier try has sent stay.

    Raises:
        StorageError: it is not what the digest says.
    """
    known = bucket.names(f"{keys.LAYERS}/{digest}/")
    read, size, sent, number = hashlib.sha256(), 0, 0, 0
    is_packed = False
    waiting: deque[Future[int]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        while piece := content.read(PART_BYTES):
            is_packed = piece.startswith(_PACKED) if number == 0 else is_packed
            key = keys.layer_part(digest, number)
            if key not in known:
                waiting.append(pool.submit(_put, bucket, key, piece, is_packed))
            if len(waiting) > WORKERS:
                sent += waiting.popleft().result()
            read.update(piece)
            size, number = size + len(piece), number + 1
            tell(len(piece))
        sent += sum(each.result() for each in waiting)
    if read.hexdigest() != digest:
        bucket.delete(keys.layer_part(digest, each) for each in range(number))
        raise StorageError(f"the layer `{digest}` is not what its engine calls it")
    told = {"format": FORMAT, "size": size, "part_bytes": PART_BYTES, "packed": is_packed}
    bucket.put(keys.layer(digest), json.dumps(told).encode())
    return sent


def fetch(bucket: Bucket, packed: Packed, folder: Path) -> None:
    """Bring an image's layers into a folder, each a file of its digest's name; all are checked.

    Touches network and disk.

    Raises:
        StorageError: one is not there, or is not what its name says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {each.digest: each.size for each in packed.layers}
    with ThreadPoolExecutor(_FETCHERS) as pool:
        parts = []
        for digest, size in wanted.items():
            told = _told(bucket, digest)
            part_bytes = int(told["part_bytes"])
            with (folder / digest).open("wb") as made:
                made.truncate(size)
            for number in range(-(-size // part_bytes)):
                at = number * part_bytes
                given = (bucket, digest, number, folder / digest, at, bool(told["packed"]))
                parts.append(pool.submit(_bring, *given))
        for each in parts:
            each.result()
        list(pool.map(lambda digest: _check(bucket, folder / digest), wanted))


def _put(bucket: Bucket, key: str, piece: bytes, is_packed: bool) -> int:
    data = piece if is_packed else zlib.compress(piece, _QUICKLY)
    bucket.put(key, data)
    return len(data)


def _told(bucket: Bucket, digest: str) -> dict[str, int]:
    found = bucket.get(keys.layer(digest))
    if found is None:
        raise StorageError(f"the bucket lacks the layer `{digest}`", hint=_AGAIN)
    known: dict[str, int] = json.loads(found.data)
    return known


def _bring(bucket: Bucket, digest: str, number: int, file: Path, at: int, is_packed: bool) -> None:
    key = keys.layer_part(digest, number)
    found = bucket.get(key)
    if found is None:
        raise _damaged(bucket, digest)
    try:
        left = memoryview(found.data if is_packed else zlib.decompress(found.data))
    except zlib.error as error:
        raise _damaged(bucket, digest) from error
    fd = os.open(file, os.O_WRONLY)
    try:
        while left:
            written = os.pwrite(fd, left, at)
            left, at = left[written:], at + written
    finally:
        os.close(fd)


def _check(bucket: Bucket, file: Path) -> None:
    with file.open("rb") as reading:
        found = hashlib.file_digest(reading, "sha256").hexdigest()
    if found != file.name:
        raise _damaged(bucket, file.name)


def _damaged(bucket: Bucket, digest: str) -> StorageError:
    """Return the error of a layer that is not whole; it counts as missing from now on."""
    bucket.delete([keys.layer(digest)])
    bucket.delete(bucket.names(f"{keys.LAYERS}/{digest}/"))
    return StorageError(f"the layer `{digest}` is not what was put there", hint=_AGAIN)
