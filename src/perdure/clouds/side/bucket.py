"""A folder of a bucket: objects whole or not at all, created once, or swapped if unchanged.

Bucket and folder of this machine alike: where a file system has no compare-and-swap, a lock does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from perdure.moving.bucket import is_missing

if TYPE_CHECKING:
    from obstore import PutResult, UpdateVersion
    from obstore.store import ObjectStore

_LOCK = ".perdure-swap.lock"
_MOST_AT_ONCE = 500
# What is larger is written and read in parts of so many bytes, so many of them side by side.
PART_BYTES = 16 << 20
_PARTS_AT_ONCE = 8
# S3 has 10,000 at most, and a file may grow while it is read.
_MOST_PARTS = 5000
# S3, GCS: bytes of a name, Azure: characters; and of a file's name on Linux.
_MOST_OF_KEY = 1024
_MOST_OF_NAME = 255


class Taken(Exception):
    """An object is not as it was: somebody else wrote it first."""


class Version(NamedTuple):
    """The provider's name for what an object holds now: S3 and Azure go by the tag, GCS by both."""

    tag: str | None
    number: str | None


class Object(NamedTuple):
    """What an object holds, which version of it that is, and when it was written.

    The time is the bucket's own.
    """

    data: bytes
    version: Version
    written: datetime


@dataclass(frozen=True, slots=True)
class Bucket:
    """A folder of a bucket that is open; `folder` is this machine's, where it is one.

    Every method touches the network or the disk, and raises what obstore does, `OSError` and
    `obstore.exceptions.BaseError`, unless it says otherwise.
    """

    store: ObjectStore
    folder: Path | None = None

    def get(self, key: str) -> Object | None:
        """Return an object, None where there is none."""
        import obstore

        try:
            found = obstore.get(self.store, key)
            meta = found.meta
            version = Version(meta["e_tag"], meta["version"])
            return Object(bytes(found.bytes()), version, meta["last_modified"])
        except FileNotFoundError as error:
            if not is_missing(error):
                raise
            return None

    def part(self, key: str, start: int, size: int) -> bytes:
        """Return a piece of an object.

        Raises:
            FileNotFoundError: there is none.
        """
        import obstore

        return bytes(obstore.get_range(self.store, key, start=start, length=size)) if size else b""

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whatever was there."""
        import obstore

        obstore.put(self.store, key, data, use_multipart=False)

    def send(self, key: str, file: BinaryIO, size: int) -> None:
        """Write an object of what a file holds, some `size` bytes: all of it or nothing.

        Large ones go in parts, and never is more than a few of those in memory: a single put takes
        5 GB on S3, https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html.
        """
        import obstore

        part_bytes = max(PART_BYTES, -(-size // _MOST_PARTS))
        obstore.put(self.store, key, file, chunk_size=part_bytes, max_concurrency=_PARTS_AT_ONCE)

    def pieces(self, key: str) -> Iterator[bytes]:
        """Yield what an object holds, in order: few of its bytes are in memory at once.

        Raises:
            FileNotFoundError: there is none.
            Taken: another one was written meanwhile.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        meta = obstore.head(self.store, key)
        for start in range(0, meta["size"], PART_BYTES):
            end = min(start + PART_BYTES, meta["size"])
            try:
                found = obstore.get(
                    self.store, key, options={"range": (start, end), "if_match": meta["e_tag"]}
                )
                yield bytes(found.bytes())
            except PreconditionError as error:
                raise Taken(key) from error

    def takes(self, key: str) -> bool:
        """Return whether a name is one that buckets keep; asks nobody.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html,
        https://cloud.google.com/storage/docs/objects#naming,
        https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
        """
        if self.folder is not None:
            return all(len(name.encode()) <= _MOST_OF_NAME for name in key.split("/"))
        folder = getattr(self.store, "prefix", None) or ""
        return len(f"{folder}/{key}".encode()) <= _MOST_OF_KEY

    def create(self, key: str, data: bytes) -> Version:
        """Return the version of an object that was not there.

        Raises:
            Taken: it is there, with other contents.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            return _version(obstore.put(self.store, key, data, mode="create", use_multipart=False))
        except (AlreadyExistsError, PreconditionError):
            return self._ours(key, data)

    def swap(self, key: str, data: bytes, before: Version | None) -> Version:
        """Return the new version of an object that is replaced if it is still the one `before`.

        None: it is created.

        Raises:
            Taken: it is another one.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if before is None:
            return self.create(key, data)
        if self.folder is not None:
            return self._swap_file(self.folder, key, data, before)
        mode: UpdateVersion = {}
        if before.tag is not None:
            mode["e_tag"] = before.tag
        if before.number is not None:
            mode["version"] = before.number
        try:
            return _version(obstore.put(self.store, key, data, mode=mode, use_multipart=False))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            return self._ours(key, data)

    def names(self, prefix: str, after: str | None = None) -> dict[str, int]:
        """Return the sizes of the objects below a folder, by name in order; only those `after`."""
        import obstore

        found = {
            str(each["path"]): int(each["size"])
            for batch in obstore.list(self.store, prefix=prefix, offset=after)
            for each in batch
        }
        return {name: found[name] for name in sorted(found) if not after or name > after}

    def flat(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder, without it, and of none further below."""
        import obstore

        found = obstore.list_with_delimiter(self.store, f"{folder}/")["objects"]
        return [str(each["path"]).rpartition("/")[2] for each in found]

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; none there is right too."""
        waiting = list(keys)
        for start in range(0, len(waiting), _MOST_AT_ONCE):
            self._delete(waiting[start : start + _MOST_AT_ONCE])

    def now(self, scratch: str) -> datetime:
        """Return the bucket's own time: that of an object which is written and deleted."""
        import obstore

        key = f"{scratch}/{uuid.uuid4().hex}"
        obstore.put(self.store, key, b"", use_multipart=False)
        try:
            return obstore.head(self.store, key)["last_modified"]
        finally:
            self.delete([key])

    def _delete(self, keys: Sequence[str]) -> None:
        import obstore

        try:
            obstore.delete(self.store, list(keys))
        except FileNotFoundError:
            # A folder of this machine says so where buckets do not.
            for key in keys:
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self.store, key)

    def _ours(self, key: str, data: bytes) -> Version:
        """Return the version of what is there if it is what was to be written.

        The answer to a put may be lost on its way, and the library then puts again.
        """
        found = self.get(key)
        if found is None or found.data != data:
            raise Taken(key)
        return found.version

    def _swap_file(self, folder: Path, key: str, data: bytes, before: Version) -> Version:
        import obstore

        with _alone(folder / _LOCK):
            found = self.get(key)
            if found is None or found.version != before:
                raise Taken(key)
            return _version(obstore.put(self.store, key, data, use_multipart=False))


def _version(result: PutResult) -> Version:
    return Version(result["e_tag"], result["version"])


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
