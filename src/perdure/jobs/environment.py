"""The environment of a job: the project's for a new one, the recorded one for one that exists."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import EnvironmentFailed
from perdure.jobs import provenance
from perdure.jobs.folder import ENVIRONMENT_LOCK, IMAGE_LOCK
from perdure.jobs.request import needs_environment
from perdure.jobs.workspace import Workspace
from perdure.model.job import EnvironmentUsed, JobRecord
from perdure.model.report import Report
from perdure.targets.place import Place

_LOCK = "uv.lock"
_PROJECT = "pyproject.toml"
# Beside uv.lock: what an image is made from.
IMAGE_LOCK_FILE = "perdure.lock"


def environment_for(
    workspace: Workspace, variant: str | None, place: Place, report: Report
) -> EnvironmentUsed:
    """Return the project's environment at a place, locked and installed if need be.

    Raises:
        EnvironmentFailed: it cannot be had.
        StorageError: no space on another host, or a folder that cannot be written there.
    """
    if not needs_environment(workspace.project):
        if variant is not None:
            raise EnvironmentFailed(
                f"project `{workspace.project.name}` has no variant `{variant}`",
                hint="leave out --variant",
            )
        return provenance.own_python()
    if not place.is_here:
        with place.writing():
            return _installed_there(workspace, variant, place, report)
    from perdure.environments.sync import ensure_environment

    handle = ensure_environment(workspace.project, workspace.settings, variant, report=report)
    return provenance.read_environment(handle.prefix, handle.lock_digest, handle.variant)


def planned_environment(workspace: Workspace, variant: str | None, place: Place) -> EnvironmentUsed:
    """Return the environment that `environment_for` would give; installs nothing."""
    if not needs_environment(workspace.project):
        return provenance.own_python()
    from perdure.environments.lock import lock_digest
    from perdure.environments.sync import choose_variant, handle_of

    project = workspace.project
    chosen = choose_variant(project, workspace.settings, variant)
    digest = lock_digest(project) or "not-locked-yet"
    handle = handle_of(project, digest, chosen)
    if not place.is_here:
        return EnvironmentUsed(digest, chosen, "", place.path(handle.prefix))
    return provenance.read_environment(handle.prefix, digest, chosen)


def _installed_there(
    workspace: Workspace, variant: str | None, place: Place, report: Report
) -> EnvironmentUsed:
    """Return the project's environment on a host, installed there if need be."""
    from perdure.environments.elsewhere import ensure_environment_on

    project, settings = workspace.project, workspace.settings
    found = ensure_environment_on(place.host, place.root, project, settings, variant, report=report)
    return EnvironmentUsed(found.lock_digest, found.variant, found.python, found.prefix)


def _restore_there(workspace: Workspace, record: JobRecord, place: Place, report: Report) -> None:
    """Return once the environment of a recorded job is on its host, installed again if need be.

    Raises:
        EnvironmentFailed: it is gone there, and the lock is another one now.
    """
    from perdure.environments import away

    used = record.environment
    assert used.prefix is not None  # what the caller asked
    if not Path(used.prefix).is_relative_to(place.root):
        raise EnvironmentFailed(
            f"the environment of `{record.job}` is not one of `{place.host.name}`: `{used.prefix}`",
            hint=f"perdure resume {record.job} --on {place.host.name}",
        )
    name = Path(used.prefix).relative_to(place.root).as_posix()
    if place.host.call(away.look, place.root, name)["python"] is not None:
        return
    if _digest(workspace.project.root / _LOCK) != used.lock:
        raise EnvironmentFailed(
            f"the environment of `{record.job}` is gone from `{place.host.name}`, and the lock "
            "has changed since",
            hint=f"git checkout {record.code.commit}" if record.code.commit else "perdure run",
        )
    report(f"the environment of `{record.job}` is gone; installing it again from its lock")
    with place.writing():
        _installed_there(workspace, used.variant, place, report)


def keep_locks(workspace: Workspace, used: EnvironmentUsed, folder: Path) -> None:
    """Copy the locks of an environment into a run folder: they say which packages there were."""
    root = workspace.project.root
    if used.image is not None:
        _copy(root / IMAGE_LOCK_FILE, folder / IMAGE_LOCK)
    if used.lock is None:
        return
    # The environment has its own copy; the project's may be a newer one by now.
    kept = [Path(used.prefix) / _LOCK] if used.prefix else []
    for each in (*kept, root / _LOCK):
        if _digest(each) == used.lock:
            shutil.copyfile(each, folder / ENVIRONMENT_LOCK)
            return


def copy_locks(before: Path, folder: Path) -> None:
    """Copy the locks that one run folder has into another."""
    for name in (ENVIRONMENT_LOCK, IMAGE_LOCK):
        _copy(before / name, folder / name)


def _copy(file: Path, copy: Path) -> None:
    """Copy a file where there is one."""
    if file.is_file():
        shutil.copyfile(file, copy)


def restore_environment(
    workspace: Workspace, record: JobRecord, place: Place, report: Report
) -> None:
    """Return once the environment of a recorded job is there, made again from its lock if need be.

    Raises:
        EnvironmentFailed: it is gone, and so is its lock; or it cannot be installed.
    """
    used = record.environment
    if used.prefix is None or used.lock is None:
        return
    if not place.is_here:
        _restore_there(workspace, record, place, report)
        return
    if (Path(used.prefix) / "bin/python").exists():
        return
    from perdure.environments.lock import LockInfo
    from perdure.environments.sync import ensure_environment
    from perdure.environments.sync import restore_environment as install_again

    report(f"the environment of `{record.job}` is gone; installing it again from its lock")
    project, settings = workspace.project, workspace.settings
    if _digest(project.root / _LOCK) == used.lock:
        ensure_environment(project, settings, used.variant, report=report)
        return
    lock = LockInfo(used.lock, record.folder / ENVIRONMENT_LOCK, used.variant)
    with _source_of(workspace, record) as source:
        install_again(project, settings, lock, source, report=report)


@contextlib.contextmanager
def _source_of(workspace: Workspace, record: JobRecord) -> Iterator[Path]:
    """Yield a folder with the pyproject.toml and the uv.lock that a job was submitted with."""
    lock = record.folder / ENVIRONMENT_LOCK
    if _digest(lock) != record.environment.lock:
        raise EnvironmentFailed(
            f"the environment of `{record.job}` is gone, and so is the copy of its lock",
            hint="perdure run: the project's present environment",
        )
    state, snapshot = workspace.project.state, record.code.snapshot
    code = state / "snapshots" / snapshot if snapshot else workspace.project.root
    import tempfile

    with tempfile.TemporaryDirectory(prefix="restore-", dir=state) as folder:
        shutil.copyfile(code / _PROJECT, Path(folder, _PROJECT))
        # The conda packages that uv.lock was made beside.
        _copy(code / IMAGE_LOCK_FILE, Path(folder, IMAGE_LOCK_FILE))
        # Paths in a lock begin at the project, two folders up from here.
        Path(folder, _LOCK).write_bytes(lock.read_bytes().replace(b'"../', b'"../../../'))
        yield Path(folder)


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
