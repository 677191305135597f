"""A run folder's growing files as pieces in a bucket, and back.

A piece is a line of JSON, `[[name, offset, size], ...]`, then the bytes one after the other. Pieces
are numbered from 1, created and never changed; a pack is a piece that stands for all up to its
number.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket, Taken
from perdure.clouds.side.lease import Fenced
from perdure.runtime import names

MOST_BYTES = 4 << 20
# So many pieces are packed when a machine begins.
PACK_FROM = 64
_WORKERS = 16
_FOLDERS = (names.METRICS, names.LOGS, names.ATTEMPTS)
_META = "meta.json"


class Grown(NamedTuple):
    """A file of a run folder from an offset on."""

    name: str
    at: int
    data: bytes


def encode(grown: Iterable[Grown]) -> bytes:
    """Return a piece. Pure."""
    parts = list(grown)
    header = json.dumps([[each.name, each.at, len(each.data)] for each in parts])
    return b"".join([header.encode(), b"\n", *(each.data for each in parts)])


def decode(piece: bytes) -> list[Grown]:
    """Return what a piece holds. Pure.

    Raises:
        ValueError: it is none, or names a file outside of the run folder.
    """
    header, _, data = piece.partition(b"\n")
    found, start = [], 0
    for name, at, size in json.loads(header):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or start + size > len(data):
            raise ValueError(f"not a piece of a run folder: {name!r}")
        found.append(Grown(name, int(at), data[start : start + size]))
        start += size
    return found


@dataclass(slots=True)
class Writer:
    """The log of a job, as the machine that holds its lease writes it."""

    bucket: Bucket
    job: str
    run_dir: Path
    number: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def flush(self) -> int:
        """Return how many bytes went into the bucket: all that has grown since. From any thread.

        Raises:
            Fenced: another machine has written a piece of that number.
        """
        with self._one:
            return self._flush()

    def add(self, words: Mapping[str, bytes]) -> None:
        """Write to the end of files, by their names, what is on no disk. Raises as `flush`."""
        with self._one:
            self._put([Grown(name, self.sizes.get(name, 0), words[name]) for name in words])

    def _flush(self) -> int:
        sent = 0
        while grown := list(self._grown()):
            self._put(grown)
            sent += sum(len(each.data) for each in grown)
        return sent

    def _put(self, grown: list[Grown]) -> None:
        key = keys.job(self.job, keys.piece(self.number + 1))
        try:
            self.bucket.create(key, encode(grown))
        except Taken as error:
            raise Fenced(f"another machine writes to `{self.job}`") from error
        self.number += 1
        for each in grown:
            self.sizes[each.name] = each.at + len(each.data)

    def _grown(self) -> Iterator[Grown]:
        left = MOST_BYTES
        for name in kept(self.run_dir):
            known = self.sizes.get(name, 0)
            if left <= 0:
                return
            try:
                with (self.run_dir / name).open("rb") as file:
                    if os.fstat(file.fileno()).st_size <= known and name in self.sizes:
                        continue
                    file.seek(known)
                    data = file.read(left)
            except OSError:
                continue
            left -= len(data)
            if data or name not in self.sizes:
                yield Grown(name, known, data)


def kept(run_dir: Path) -> list[str]:
    """Return the names of a run folder's files that grow: what was written before what tells of it.

    Claims come last: who reads a claim has all that was before.
    """
    found = []
    for inner in _FOLDERS:
        found += [f"{inner}/{name}" for name in _names(run_dir / inner)]
    outer = _names(run_dir)
    found += [name for name in outer if name == names.SUPERVISOR_LOG]
    for each in _names(run_dir / names.CHECKPOINTS):
        meta = f"{names.CHECKPOINTS}/{each}/{_META}"
        if each.startswith("g") and (run_dir / meta).is_file():
            found.append(meta)
    return found + [name for name in outer if name.startswith(names.GENERATION_PREFIX)]


def begin(bucket: Bucket, job: str, run_dir: Path) -> Writer:
    """Return the log of a job to go on with, after all of it was brought into its run folder."""
    number, whole = _read(bucket, job)
    for name, data in whole.items():
        # Of a checkpoint here lies no more than what is written of it: that is no checkpoint.
        if not name.startswith(f"{names.CHECKPOINTS}/"):
            path = run_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    if number:
        _pack(bucket, job, number, whole)
    return Writer(bucket, job, run_dir, number, {name: len(whole[name]) for name in whole})


def whole(bucket: Bucket, job: str, name: str) -> bytes:
    """Return all that the log of a job has of a file."""
    return bytes(_read(bucket, job)[1].get(name, b""))


def at_end(bucket: Bucket, job: str) -> Writer:
    """Return the log of a job to `add` to, of which nothing comes onto this machine's disk."""
    number, whole = _read(bucket, job)
    sizes = {name: len(whole[name]) for name in whole}
    return Writer(bucket, job, Path(os.devnull), number, sizes)


def pieces(bucket: Bucket, job: str, after: int) -> Iterator[tuple[int, list[Grown]]]:
    """Yield number and contents of what comes after a piece, in order; a pack first if it does.

    Raises:
        ValueError: an object is no piece.
    """
    packs = bucket.names(keys.job(job, keys.PACKS))
    newest = max(map(keys.number_of, packs), default=0)
    if newest > after:
        found = bucket.get(keys.job(job, keys.pack(newest)))
        if found is not None:
            yield newest, decode(found.data)
            after = newest
    last = keys.job(job, keys.piece(after))
    wanted = list(bucket.names(keys.job(job, keys.LOG), last))
    with ThreadPoolExecutor(_WORKERS) as pool:
        for key, found in zip(wanted, pool.map(bucket.get, wanted), strict=True):
            if found is None or keys.number_of(key) != after + 1:
                return  # packed meanwhile: the next look finds the pack
            after += 1
            yield after, decode(found.data)


def write_all(folder: Path, grown: Iterable[Grown]) -> None:
    """Write pieces of files where they belong. Touches the disk."""
    for each in grown:
        path = folder / each.name
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(fd, each.data, each.at)
        finally:
            os.close(fd)


def _read(bucket: Bucket, job: str) -> tuple[int, dict[str, bytearray]]:
    number = 0
    whole: dict[str, bytearray] = {}
    for number, grown in pieces(bucket, job, 0):  # noqa: B007 - the last one is wanted
        for each in grown:
            held = whole.setdefault(each.name, bytearray())
            held[each.at : each.at + len(each.data)] = each.data
    return number, whole


def _pack(bucket: Bucket, job: str, number: int, whole: Mapping[str, bytearray]) -> None:
    loose = bucket.names(keys.job(job, keys.LOG))
    if len(loose) < PACK_FROM:
        return
    ordered = sorted(whole, key=lambda name: name.startswith(names.GENERATION_PREFIX))
    data = encode(Grown(name, 0, bytes(whole[name])) for name in ordered)
    key = keys.job(job, keys.pack(number))
    bucket.put(key, data)
    older = [each for each in bucket.names(keys.job(job, keys.PACKS)) if each != key]
    bucket.delete([*older, *(each for each in loose if keys.number_of(each) <= number)])


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return []
