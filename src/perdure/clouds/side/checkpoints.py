"""Checkpoints of a run folder in a bucket: parts side by side, then the manifest, which counts.

A part that is there with its size is not sent again, so an upload that was broken off goes on. A
manifest is created, never changed; deleting begins with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket
from perdure.runtime import names

PART_BYTES = 16 << 20
WORKERS = 8
FORMAT = 1
_NAME = re.compile(r"g([0-9]+)-s([0-9]+)(?:-([0-9]+))?")
# It is there from the start: the folder has its name only once it is whole.
_STATE = "state.safetensors"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Superseded(Exception):
    """The upload was given up: a newer checkpoint is there."""


class Damaged(Exception):
    """A checkpoint in a bucket is not what was put there."""


class Stored(NamedTuple):
    """A file of a checkpoint in a bucket: its size, and the CRC-32 of each of its parts."""

    size: int
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A job's checkpoints in a bucket. Every method touches the network."""

    bucket: Bucket
    job: str
    part_bytes: int = PART_BYTES
    workers: int = WORKERS

    def committed(self) -> list[str]:
        """Return the names of the checkpoints that count, the newest first."""
        prefix = keys.job(self.job, keys.CHECKPOINTS)
        # Not below it: those are parts, and may be thousands.
        manifests = (each for each in self.bucket.flat(prefix) if each.endswith(".json"))
        found = (each.removesuffix(".json") for each in manifests)
        return sorted((name for name in found if order(name)), key=order, reverse=True)

    def upload(
        self,
        folder: Path,
        *,
        is_superseded: Callable[[], bool] = lambda: False,
        confirm: Callable[[], None] = lambda: None,
    ) -> int:
        """Return how many bytes went there; `confirm` is called before the manifest is put.

        What is deleted meanwhile is read to its end all the same.

        Raises:
            Superseded: it was given up; what went there is kept, and does not count.
            FileNotFoundError: the checkpoint was deleted before it was opened.
        """
        name = folder.name
        known = self.bucket.names(keys.job(self.job, f"{keys.CHECKPOINTS}/{name}/"))
        files: dict[str, Stored] = {}
        sent = 0
        with contextlib.ExitStack() as open_files:
            opened = {
                each: open_files.enter_context((folder / each).open("rb"))
                for each in sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
            }
            for each, file in opened.items():
                upload = _Upload(self, name, each, file.fileno(), known)
                files[each] = upload.run(is_superseded)
                sent += upload.sent
        content = {
            "format": FORMAT,
            "part_bytes": self.part_bytes,
            "files": {each: [stored.size, *stored.parts] for each, stored in files.items()},
        }
        confirm()
        self.bucket.create(keys.job(self.job, keys.manifest(name)), json.dumps(content).encode())
        return sent

    def fetch(self, name: str, final: Path) -> None:
        """Bring a checkpoint to `final`, whole or not at all. Touches the disk.

        Raises:
            Damaged: it is not as it was put there.
        """
        found = self.bucket.get(keys.job(self.job, keys.manifest(name)))
        files, part_bytes = _read(name, b"" if found is None else found.data)
        draft = final.with_name(f"tmp-fetch-{name}")
        draft.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = [
                task
                for each, stored in files.items()
                for task in self._fetch(pool, (name, each), stored, part_bytes, draft / each)
            ]
            try:
                for task in waiting:
                    task.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                shutil.rmtree(draft, ignore_errors=True)
                raise
        draft.rename(final)

    def keep_newest(self, count: int) -> None:
        """Delete all but the newest checkpoints, and parts that no manifest names before those."""
        counting = self.committed()
        doomed, oldest = counting[count:], counting[:count][-1:]
        self.bucket.delete(keys.job(self.job, keys.manifest(name)) for name in doomed)
        if not oldest:
            return
        prefix = keys.job(self.job, keys.CHECKPOINTS)
        parts = self.bucket.names(f"{prefix}/")
        owners = {part: part.removeprefix(f"{prefix}/").partition("/") for part in parts}
        self.bucket.delete(
            part
            for part, (owner, is_part, _) in owners.items()
            if is_part and owner not in counting[:count] and order(owner) < order(oldest[0])
        )

    def _fetch(
        self,
        pool: ThreadPoolExecutor,
        whose: tuple[str, str],
        stored: Stored,
        part_bytes: int,
        file: Path,
    ) -> Iterator[Future[None]]:
        with file.open("wb") as made:
            made.truncate(stored.size)
        for number in range(len(stored.parts)):
            key = keys.job(self.job, keys.part(*whose, number))
            at = number * part_bytes
            yield pool.submit(self._part, key, stored.parts[number], at, file)

    def _part(self, key: str, crc: int, at: int, file: Path) -> None:
        found = self.bucket.get(key)
        if found is None or zlib.crc32(found.data) != crc:
            raise Damaged(f"`{key}` is not what was put there")
        fd = os.open(file, os.O_WRONLY)
        try:
            left = memoryview(found.data)
            while left:
                written = os.pwrite(fd, left, at)
                left, at = left[written:], at + written
        finally:
            os.close(fd)


@dataclass(slots=True)
class _Upload:
    """One file on its way: several parts at once, each read when its turn comes."""

    shelf: Shelf
    checkpoint: str
    file: str
    fd: int
    known: Mapping[str, int]
    sent: int = 0

    def run(self, is_superseded: Callable[[], bool]) -> Stored:
        """Return what is there when all parts are."""
        size = os.fstat(self.fd).st_size
        count = -(-size // self.shelf.part_bytes)
        with ThreadPoolExecutor(self.shelf.workers) as pool:

            def one(number: int) -> tuple[int, int]:
                if is_superseded():
                    raise Superseded(self.checkpoint)
                return self._part(number)

            try:
                found: Sequence[tuple[int, int]] = list(pool.map(one, range(count)))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self.sent = sum(sent for _, sent in found)
        return Stored(size, tuple(crc for crc, _ in found))

    def _part(self, number: int) -> tuple[int, int]:
        """Return the CRC-32 of a part, and how many bytes were sent of it."""
        data = os.pread(self.fd, self.shelf.part_bytes, number * self.shelf.part_bytes)
        key = keys.job(self.shelf.job, keys.part(self.checkpoint, self.file, number))
        if self.known.get(key) == len(data):
            return zlib.crc32(data), 0
        self.shelf.bucket.put(key, data)
        return zlib.crc32(data), len(data)


def order(name: str) -> tuple[int, ...]:
    """Return generation, step and count of a checkpoint's name, () of another name. Pure."""
    found = _NAME.fullmatch(name)
    return () if found is None else tuple(int(number or 0) for number in found.groups())


def here(run_dir: Path) -> list[str]:
    """Return the names of a run folder's whole checkpoints, the newest first. Reads the disk.

    A mirror has the `meta.json` of one whose machine died before the rest was sent: that is none.
    """
    return [name for name in told(run_dir) if is_whole(run_dir / names.CHECKPOINTS / name)]


def told(run_dir: Path) -> list[str]:
    """Return the names of the checkpoints of which a run folder has anything, as `here` does."""
    try:
        found = os.listdir(run_dir / names.CHECKPOINTS)  # noqa: PTH208 - names, not paths
    except OSError:
        return []
    return sorted((name for name in found if order(name)), key=order, reverse=True)


def is_whole(folder: Path) -> bool:
    """Return whether the folder of a checkpoint has what was saved, too. Reads the disk."""
    return (folder / _STATE).is_file()


def restore(shelf: Shelf, run_dir: Path, warn: Callable[[str], None]) -> str:
    """Return the name of the checkpoint that was brought into a run folder, "" where none counts.

    The newest that is whole; `warn` is told of those that are not.
    """
    for name in shelf.committed():
        try:
            shelf.fetch(name, run_dir / names.CHECKPOINTS / name)
        except Damaged as error:
            warn(f"checkpoint `{name}` cannot be used: {error}; falling back to the one before")
        else:
            return name
    return ""


def bring_newest(shelf: Shelf, run_dir: Path, warn: Callable[[str], None]) -> str:
    """Return the same, without a look at what is inside of the newest where it is here, whole."""
    for name in shelf.committed()[:1]:
        final = run_dir / names.CHECKPOINTS / name
        if is_whole(final):
            return name
        # What tells of it may be here already, and is in it as well.
        shutil.rmtree(final, ignore_errors=True)
    return restore(shelf, run_dir, warn)


def _read(name: str, raw: bytes) -> tuple[dict[str, Stored], int]:
    try:
        content = json.loads(raw)
        files = {
            each: Stored(int(size), tuple(map(int, parts)))
            for each, (size, *parts) in content["files"].items()
        }
        part_bytes = int(content["part_bytes"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"the manifest of `{name}` cannot be read") from error
    if int(content["format"]) > FORMAT or not all(map(_FILE.fullmatch, files)) or part_bytes < 1:
        raise Damaged(f"the manifest of `{name}` is not one of this perdure's")
    return files, part_bytes
