"""A project with its user's settings: what every verb that deals with jobs begins with."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import ConflictError, StorageError, UsageError
from perdure.model.project import Project
from perdure.model.settings import Settings
from perdure.project.identity import make_state

_SUBMITTING = "submitting.lock"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Workspace:
    """A project and its user's settings."""

    project: Project
    settings: Settings


def open_workspace(start: Path) -> Workspace:
    """Return the workspace that the folder `start` lies in. Touches the disk.

    Raises:
        UsageError: there is no project there, or it has mistakes.
    """
    from perdure.project.decode import load_project
    from perdure.project.find import find_project
    from perdure.project.settings import load_settings

    root = find_project(start)
    return Workspace(load_project(root), load_settings(root))


def locate_workspace(start: Path) -> Workspace:
    """Return the workspace without its tasks, environment and settings: where its jobs are.

    It is all that looking at run folders needs, and costs no decoding. Touches the disk.

    Raises:
        UsageError: there is no project there.
    """
    from perdure.project.find import find_project

    root = find_project(start)
    return Workspace(Project(root, root.name, "", {}), Settings())


def root_of(folder: Path) -> Path:
    """Return the project that a run folder belongs to, the drill's in `.perdure` too."""
    from perdure.project.find import find_project

    try:
        return find_project(folder)
    except UsageError:
        return folder.parent.parent


def make_state_folder(project: Project) -> Path:
    """Return the folder of what perdure keeps for itself, made and hidden from git.

    Raises:
        StorageError: it cannot be written, or something else is in its place.
    """
    with storing("perdure's own folder"):
        return make_state(project)


@contextlib.contextmanager
def submitting(project: Project, *, alone: bool = False) -> Iterator[None]:
    """Keep snapshots and environments that no job names yet from being cleaned away.

    `alone`: for the one who cleans.

    Raises:
        ConflictError: a job is being submitted while somebody wants to clean.
    """
    fd = os.open(make_state_folder(project) / _SUBMITTING, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        yield
    except BlockingIOError:
        raise ConflictError("a job is being submitted right now", hint="try again") from None
    finally:
        os.close(fd)


@contextlib.contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn what a disk refuses into one clear error.

    Raises:
        StorageError: naming what was being written, and why it was refused.
    """
    try:
        yield
    except OSError as error:
        where = f" `{error.filename}`" if isinstance(error.filename, str) else ""
        reason = (error.strerror or str(error)).lower()
        hint = "perdure clean results" if error.errno in _FULL else None
        raise StorageError(f"cannot write {what}{where}: {reason}", hint=hint) from error
