"""What was pulled, moved from its staging folder into place: whole files, by renaming."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perdure.errors import StorageError
from perdure.hosts.progress import MIB
from perdure.moving.entry import Entry, Kind
from perdure.moving.plan import Plan
from perdure.moving.selection import STAGING
from perdure.moving.walk import entry_at
from perdure.runtime import names

_CHUNK = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def conflict_name(now: float) -> str:
    """Return the folder below `.perdure/conflicts` for what is displaced now (unix seconds)."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


@dataclass(frozen=True, slots=True)
class Arriving:
    """A folder that files arrive in, and where what they displace is kept."""

    staging: Path
    folder: Path
    kept_in: Path
    kept: list[str] = field(default_factory=list)

    def publish(self, plan: Plan, found: Mapping[str, Entry], arrived: Collection[str]) -> None:
        """Move what arrived into place, a job's record last; `found` is what was listed here.

        What was edited since is kept as well as what the plan displaces.

        Raises:
            StorageError: the disk refuses.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in plan.displaced:
                # A file in the way is judged when what replaces it is there.
                if path not in plan.files or _is_folder(self.folder / path):
                    self._displace(path)
            for path in plan.folders:
                (self.folder / path).mkdir(parents=True, exist_ok=True)
            for path in sorted(arrived, key=lambda each: (each.endswith(names.JOB_FILE), each)):
                self._place(path, plan.displaced, found.get(path))
            for path, target in plan.links.items():
                self._link(path, target)
        shutil.rmtree(self.staging, ignore_errors=True)
        if self.staging.parent.name == STAGING:
            with contextlib.suppress(OSError):
                self.staging.parent.rmdir()

    def _place(self, path: str, displaced: Collection[str], listed: Entry | None) -> None:
        staged, target = self.staging / path, self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        there = entry_at(target)
        edited = there is not None and there != listed
        if there is not None and (edited or path in displaced) and not begins(staged, target):
            self._displace(path)
        staged.replace(target)

    def _link(self, path: str, target: str) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".perdure-link-{os.getpid()}")
        draft.unlink(missing_ok=True)
        draft.symlink_to(target)
        draft.replace(place)

    def _displace(self, path: str) -> None:
        kept = self.kept_in / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Data may lie on another disk than the project.
        shutil.move(self.folder / path, kept)
        self.kept.append(path)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the disk here refuses into one clear error.

    Raises:
        StorageError: naming what could not be written, and why.
    """
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else folder
        full = error.errno in _FULL
        raise StorageError(
            f"cannot write `{where}`: {(error.strerror or str(error)).lower()}",
            hint="free some space, and say it again: it goes on where it stopped" if full else None,
        ) from error


def check_space(word: str, staging: Path, files: Mapping[str, Entry]) -> None:
    """Return if the disk has room for what is to arrive and is not here yet. Reads the disk.

    Raises:
        StorageError: it has not.
    """
    staged = 0
    for path in files:
        with contextlib.suppress(OSError):
            # What is taken, not the size: a file may have holes where parts are to come.
            staged += (staging / path).stat().st_blocks * 512
    needed = sum(entry.size for entry in files.values()) - staged
    free = shutil.disk_usage(staging).free
    if needed > free:
        raise StorageError(
            f"{word} needs {needed / MIB:.0f} MiB here, where {free / MIB:.0f} MiB are free",
            hint="perdure clean results",
        )


def begins(whole: Path, part: Path) -> bool:
    """Return whether `part` is the beginning of `whole`: nothing of it is lost. Reads both."""
    entry = entry_at(part)
    if entry is None or entry.kind is not Kind.FILE or entry.size > whole.stat().st_size:
        return False
    with whole.open("rb") as one, part.open("rb") as other:
        while data := other.read(_CHUNK):
            if one.read(len(data)) != data:
                return False
    return True


def digests_here(
    folder: Path, paths: Iterable[str], tell: Callable[[int], None] = lambda count: None
) -> dict[str, str]:
    """Return the SHA-256 of files here, of those that can be read. Reads the disk."""
    found = {}
    for path in paths:
        digest = hashlib.sha256()
        with contextlib.suppress(OSError), (folder / path).open("rb") as file:
            while data := file.read(_CHUNK):
                digest.update(data)
                tell(len(data))
            found[path] = digest.hexdigest()
    return found


def _is_folder(path: Path) -> bool:
    entry = entry_at(path)
    return entry is not None and entry.kind is Kind.FOLDER
