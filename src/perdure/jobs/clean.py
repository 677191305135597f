"""Run folders deleted, and then what only they needed."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from perdure.errors import ConflictError, PerdureError
from perdure.jobs import folder as folders
from perdure.jobs.ledger import statuses
from perdure.jobs.mirror import is_mirror
from perdure.jobs.snapshot import remove_tree
from perdure.jobs.witness import read_witness
from perdure.jobs.workspace import Workspace, storing, submitting
from perdure.model.job import ALIVE, ENDED, JobRecord, JobStatus
from perdure.model.report import Report, silent
from perdure.model.station import Station
from perdure.runtime import names
from perdure.targets import presence, slurm_image

_TRASH = ".trash-"
# What a sweep has once a trial of it has ended: see `perdure.sweeps.record`.
_SWEEPS_INDEX = "ended.jsonl"
# What a run folder holds before its job.json.
_MADE_FIRST = (
    names.OUTPUTS,
    names.PATCH_FILE,
    f".{names.JOB_FILE}",
    folders.CODE_LIST,
    folders.ENVIRONMENT_LOCK,
    folders.IMAGE_LOCK,
)


@dataclass(frozen=True, slots=True)
class Deletable:
    """A job that may be deleted, and how much room that makes, in bytes."""

    status: JobStatus
    bytes: int

    @property
    def folder(self) -> Path:
        """Return its run folder."""
        return self.status.record.folder


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was deleted: jobs, snapshots and environments by name, and the bytes of it all."""

    jobs: tuple[str, ...]
    snapshots: tuple[str, ...]
    environments: tuple[str, ...]
    bytes: int


def deletable(workspace: Workspace, jobs: Sequence[str] = ()) -> list[Deletable]:
    """Return what cleaning would delete: nothing that runs. Reads the disk, deletes nothing.

    Without `jobs`: those that have ended; one that could go on, or that a newer perdure wrote, is
    deleted only when it is named.

    Raises:
        ConflictError: a named job is running.
    """
    found = []
    for status in statuses(workspace, all=True):
        named = status.record.job in jobs
        if named and status.state in ALIVE:
            raise ConflictError(
                f"job `{status.record.job}` is running", hint=f"perdure kill {status.record.job}"
            )
        if named or (not jobs and status.state in ENDED):
            found.append(Deletable(status, size_of(status.record.folder)))
    return found


def mirrors(workspace: Workspace, station: Station) -> list[Deletable]:
    """Return the jobs of another host of which no more is here than what tells how they stand.

    One whose results were pulled is not among them: what is here of it is somebody's copy.
    """
    found = []
    for status in statuses(workspace, all=True):
        folder = status.record.folder
        witness = read_witness(folder)
        # By its folder there: a target of that name may have had another one.
        if witness is not None and witness.station[:2] == station[:2] and is_mirror(folder):
            found.append(Deletable(status, size_of(folder)))
    return found


def delete(
    workspace: Workspace, chosen: Iterable[Deletable], *, report: Report = silent
) -> Cleaned:
    """Delete run folders, then the snapshots, contents and environments that no job needs any more.

    A job that was started meanwhile is left, with a warning. What the project would run on now is
    left too.

    Raises:
        ConflictError: a job is being submitted.
        StorageError: a folder cannot be deleted.
    """
    jobs: list[str] = []
    freed = 0
    with storing("the results folder"), submitting(workspace.project, alone=True):
        for item in chosen:
            report(f"deleting `{item.folder.name}`")
            try:
                _delete_job(item.folder)
            except ConflictError as error:
                report(f"warning: {error.message}; it is left")
                continue
            jobs.append(item.folder.name)
            freed += item.bytes
        _clear_debris(workspace)
        _forget_sweeps(workspace)
        swept = _sweep(workspace, report)
    return Cleaned(tuple(jobs), swept.snapshots, swept.environments, freed + swept.bytes)


def size_of(folder: Path) -> int:
    """Return the bytes that the files below a folder take, each counted once. Reads the disk."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                found = Path(path, name).lstat()
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    total += found.st_blocks * 512
    return total


def _delete_job(folder: Path) -> None:
    trash = folder.with_name(f"{_TRASH}{uuid.uuid4().hex}")
    with presence.held(folder):
        # Out of sight in one step: a folder that is half deleted is no job.
        folder.rename(trash)
    remove_tree(trash)


def _clear_debris(workspace: Workspace) -> None:
    """Delete what was being made or deleted when a process was killed; nobody submits just now."""
    project = workspace.project
    state = project.state
    left_over = (state.glob(pattern) for pattern in (".patch-*", "restore-*", "sweeps/.tmp-*"))
    for left in chain.from_iterable(left_over):
        remove_tree(left)
    for folder in _folders(project.results):
        inside = {path.name for path in folder.iterdir()}
        unfinished = inside and all(name.startswith(_MADE_FIRST) for name in inside)
        if folder.name.startswith(_TRASH) or unfinished:
            remove_tree(folder)


def _forget_sweeps(workspace: Workspace) -> None:
    """Delete what is kept of sweeps of which no run folder is left, and no driver lives."""
    project = workspace.project
    for folder in _folders(project.state / "sweeps"):
        begun = (folder / _SWEEPS_INDEX).exists()
        if begun and not any(project.results.glob(f"{folder.name}-[0-9]*")):
            # One that is driven is left: its trials are begun again.
            with contextlib.suppress(ConflictError), presence.held(folder):
                remove_tree(folder)


def _sweep(workspace: Workspace, report: Report) -> Cleaned:
    try:
        snapshots, environments = unneeded(workspace)
    except PerdureError as error:
        # Nobody can say what such a job needs.
        report(f"warning: snapshots and environments are left: {error.message}")
        return Cleaned((), (), (), 0)
    for folder in snapshots:
        remove_tree(folder)
    freed = _sweep_objects(workspace.project.state / "objects")
    for file in _unneeded_images(workspace):
        freed += file.lstat().st_blocks * 512
        file.unlink()
    for folder in environments:
        freed += size_of(folder)
        remove_tree(folder)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
    swept = [tuple(folder.name for folder in each) for each in (snapshots, environments)]
    return Cleaned((), swept[0], swept[1], freed)


def unneeded(workspace: Workspace) -> tuple[list[Path], list[Path]]:
    """Return the snapshots and the environments that no job needs. Reads the disk.

    Raises:
        PerdureError: a job's record cannot be read.
    """
    project = workspace.project
    records = _records(workspace)
    needed = {record.code.snapshot for record in records}
    prefixes = {Path(r.environment.prefix).name for r in records if r.environment.prefix}
    current = _current_environments(workspace)
    snapshots = [f for f in _folders(project.state / "snapshots") if f.name not in needed]
    environments = [
        folder
        for folder in _folders(project.state / "environments")
        if folder.name not in prefixes and not folder.name.startswith(current)
    ]
    return snapshots, environments


def _unneeded_images(workspace: Workspace) -> list[Path]:
    """Return the files of images that no job needs. Reads the disk."""
    records = _records(workspace)
    used = [each.environment.image for each in records if each.environment.image is not None]
    return slurm_image.unneeded(str(workspace.project.root), used)


def _records(workspace: Workspace) -> list[JobRecord]:
    project = workspace.project
    # The folder of a sweep has a record too, from which jobs are still to be made.
    kept = (*_folders(project.results), *_folders(project.state / "sweeps"))
    return [folders.read_record(folder) for folder in kept if folders.is_job(folder)]


def _sweep_objects(objects: Path) -> int:
    """Delete contents that no snapshot links to, and return the bytes they took."""
    freed = 0
    for file in objects.glob("??/*"):
        found = file.lstat()
        if found.st_nlink == 1:
            freed += found.st_blocks * 512
            file.unlink()
    return freed


def _current_environments(workspace: Workspace) -> tuple[str, ...]:
    from perdure.environments.lock import lock_digest
    from perdure.environments.sync import handle_of

    digest = lock_digest(workspace.project)
    if digest is None:
        return ()
    name = handle_of(workspace.project, digest, None).prefix.name
    return (name.removesuffix("default"),)


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
