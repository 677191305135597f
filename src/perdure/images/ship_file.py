"""A file that is there whole or not at all; and an image as an archive in one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import EnvironmentFailed, PerdureError, StorageError, UsageError
from perdure.hosts.engine import Engine
from perdure.hosts.progress import MIB, Progress
from perdure.images.archive import UnexpectedArchive, layer_paths
from perdure.images.ship_image import ImageRecord
from perdure.images.ship_stream import saved
from perdure.images.shipment import Moved
from perdure.model.report import Report

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def whole_or_not(path: Path) -> Iterator[Path]:
    """Yield the path to write to; it becomes `path` at the end, and is gone after an error.

    Raises:
        UsageError: there is no such folder, or `path` is one.
        StorageError: the folder cannot be written, or the disk is full.
    """
    refuse_place(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def refuse_place(path: Path) -> None:
    """Return if a file may be made there, as far as that shows without making it.

    Raises:
        UsageError: there is no such folder, or `path` is one.
        StorageError: the folder cannot be written.
    """
    try:
        if path.is_dir():
            hint = f"name a file in it: `{path / 'image.tar'}`"
            raise UsageError(f"`{path}` is a folder", hint=hint)
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder `{path.parent}`", hint=f"mkdir -p {path.parent}")
    except OSError as error:
        raise storage_error(path, error) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise storage_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error for a file that could not be written."""
    if error.errno in _FULL:
        return StorageError(
            f"no space left for `{path}`", hint=f"df -h {path.parent}; nothing was left behind"
        )
    reason = (error.strerror or str(error)).lower()
    return StorageError(f"cannot write `{path}`: {reason}", hint=f"ls -ld {path.parent}")


def write_archive(
    engine: Engine, tag: str, image: ImageRecord, path: Path, report: Report
) -> Moved:
    """Return what was written once the file holds the image as `docker load` reads it.

    Raises:
        EnvironmentFailed: the engine did not give all of it.
        StorageError: the file cannot be written, or the disk is full.
    """
    count = 0
    tell = Progress(report, f"writing {path.name}", image.size)
    with whole_or_not(path) as partial:
        with partial.open("wb") as file, saved(engine, tag, tell) as archive:
            while data := archive.read(MIB):
                count += file.write(data)
            archive.finish()
        check_archive(partial, tag)
    return Moved(len(image.layers), count)


def check_archive(path: Path, tag: str) -> None:
    """Return if an archive has all that its manifest.json names.

    The containerd store leaves out what it lacks, and does not say so.

    Raises:
        EnvironmentFailed: something is missing.
    """
    try:
        with tarfile.open(path, mode="r:") as archive:
            there = set(archive.getnames())
            manifest = archive.extractfile("manifest.json")
            text = manifest.read() if manifest else b""
        wanted = {*layer_paths(text), json.loads(text)[0]["Config"]}
    except (tarfile.TarError, KeyError, UnexpectedArchive) as error:
        raise _incomplete(tag) from error
    if not wanted <= there:
        raise _incomplete(tag)


def _incomplete(tag: str) -> PerdureError:
    return EnvironmentFailed(
        f"the engine does not give `{tag}` whole: parts of it are missing",
        hint="build it again, or pull it again",
    )
