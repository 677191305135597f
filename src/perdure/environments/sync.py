"""The installed environment of a lock: a folder of its own, complete or absent, shared by jobs."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.environments.exclusive import alone
from perdure.environments.lock import LOCK_FILE, UNNEEDED, LockInfo, read_manifest, require_lock
from perdure.environments.manifest import Manifest
from perdure.environments.uv import (
    prepare_state,
    python_words,
    run_uv,
    this_machine,
    unwritable,
    with_cache,
)
from perdure.errors import ConflictError, EnvironmentFailed, TimeoutExpired
from perdure.hosts import local
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

MARKER = "perdure-environment.json"

_FOLDER = "environments"
_DIGITS = 16
_TIMEOUT_S = 3600.0
_WARM_S = 180.0


@dataclass(frozen=True, slots=True)
class EnvironmentHandle:
    """An installed environment: its folder, its Python, and the lock and variant it was made of."""

    prefix: Path
    python: Path
    lock_digest: str
    variant: str | None


def ensure_environment(
    project: Project, settings: Settings, variant: str | None = None, *, report: Report = silent
) -> EnvironmentHandle:
    """Return the environment of the project's lock, which is made if it is missing, installed.

    The project itself is not in it: a job imports `Project.source` or its snapshot's.

    Raises:
        EnvironmentFailed: no such variant, a lock older than what it was made for, no resolution,
            or uv could not install.
        MissingProgram: there is no uv.
        StorageError: no space, or a folder that cannot be written.
        TimeoutExpired: another perdure has been installing it for an hour.
    """
    chosen = choose_variant(project, settings, variant)
    lock = require_lock(project, settings, report=report)
    return _ensure_installed(project, settings, replace(lock, variant=chosen), project.root, report)


def restore_environment(
    project: Project,
    settings: Settings,
    lock: LockInfo,
    source: Path,
    *,
    report: Report = silent,
) -> EnvironmentHandle:
    """Return the environment of an earlier lock than the project's, installed if it is gone.

    `source` is a folder with the pyproject.toml that the lock was made for, and its uv.lock with
    paths that are right from there. Raises as `ensure_environment`.
    """
    for entry in project.root.iterdir():
        # What the lock names by its path, such as a wheel in vendor/.
        if entry.name not in UNNEEDED and not (source / entry.name).exists():
            (source / entry.name).symlink_to(entry)
    return _ensure_installed(project, settings, lock, source, report)


def choose_variant(project: Project, settings: Settings, variant: str | None) -> str | None:
    """Return the variant asked for, else the user's, else the project's; None if it has none.

    Raises:
        EnvironmentFailed: the project has no such variant.
    """
    environment = project.environment
    chosen = variant or settings.default_variant or environment.default_variant
    if chosen is None or chosen in environment.variants:
        return chosen
    near = difflib.get_close_matches(chosen, environment.variants, n=1) or environment.variants
    raise EnvironmentFailed(
        f"project `{project.name}` has no variant `{chosen}`",
        hint=f"--variant {near[0]}" if near else "leave out --variant",
    )


def handle_of(project: Project, lock_digest: str, variant: str | None) -> EnvironmentHandle:
    """Return where the environment of that lock and variant is, or would be."""
    prefix = project.state / _FOLDER / f"{lock_digest[:_DIGITS]}-{variant or 'default'}"
    return EnvironmentHandle(prefix, prefix / "bin" / "python", lock_digest, variant)


def is_complete(handle: EnvironmentHandle) -> bool:
    """Return whether the environment is installed, and its Python is still on this machine."""
    return (handle.prefix / MARKER).is_file() and handle.python.exists()


def _ensure_installed(
    project: Project, settings: Settings, lock: LockInfo, source: Path, report: Report
) -> EnvironmentHandle:
    handle = handle_of(project, lock.digest, lock.variant)
    if not is_complete(handle):
        prepare_state(project.state)
        handle.prefix.parent.mkdir(exist_ok=True)
        held = handle.prefix.with_name(f"{handle.prefix.name}.lock")
        with alone(held, "installing this environment", report):
            if not is_complete(handle):
                _clear(handle.prefix)
                _install(replace(project, root=source), settings, handle, report)
                _check_unchanged(lock)
                _leave_command_out(handle.prefix)
                _warm(handle, read_manifest(project), report)
                _mark(handle, lock)
    return handle


def _install(
    project: Project, settings: Settings, handle: EnvironmentHandle, report: Report
) -> None:
    """Install it in place: its scripts hold its path."""
    report(f"installing the environment ({handle.variant or 'default'}) with uv")
    environ = with_cache(this_machine().environ, handle.prefix.parent.parent)
    environ["UV_PROJECT_ENVIRONMENT"] = str(handle.prefix)
    logins = [each.url for each in settings.indexes.values() if "@" in each.url]
    if logins:
        # The lock has bare URLs; an index with the same one is where uv finds the password.
        environ["UV_INDEX"] = " ".join([*logins, environ.get("UV_INDEX", "")]).strip()
    extra = ("--extra", handle.variant) if handle.variant else ()
    python = python_words(project, read_manifest(project))
    if project.environment.conda is not None:
        from perdure.environments.conda.beside import install_beside

        python = install_beside(project, handle.prefix, report=report)
    words = ("sync", "--frozen", "--no-install-project", *extra, *python)
    run_uv(words, cwd=project.root, environ=environ, timeout_s=_TIMEOUT_S, report=report)


def _check_unchanged(lock: LockInfo) -> None:
    if hashlib.sha256(lock.path.read_bytes()).hexdigest() != lock.digest:
        raise ConflictError(
            f"`{lock.path}` was changed while it was being installed", hint="run it again"
        )


def _warm(handle: EnvironmentHandle, manifest: Manifest, report: Report) -> None:
    """Compile what the project imports: else each job does, where Python may not keep bytecode.

    Compiling all that is installed would take several times as long.
    """
    report("compiling the packages that the project imports")
    script = str(Path(__file__).with_name("warm.py"))
    argv = [str(handle.python), "-E", "-s", script, *sorted(manifest.direct(handle.variant))]
    with contextlib.suppress(TimeoutExpired):
        # One thread: there is nothing to compute. -E: PYTHONDONTWRITEBYTECODE is not heeded.
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        local.run(argv, env=environ, cwd=handle.prefix, timeout_s=_WARM_S)


def _mark(handle: EnvironmentHandle, lock: LockInfo) -> None:
    """Write the marker, last: without it the folder counts for nothing."""
    marker = {"format": 1, "lock": handle.lock_digest, "variant": handle.variant}
    fresh = handle.prefix / f".{MARKER}"
    try:
        (handle.prefix / LOCK_FILE).write_bytes(lock.path.read_bytes())
        fresh.write_text(json.dumps(marker) + "\n")
        fresh.replace(handle.prefix / MARKER)
    except OSError as error:
        raise unwritable(handle.prefix, error) from error


def _leave_command_out(prefix: Path) -> None:
    """Remove `perdure` from the environment's commands if what it needs is not installed there.

    A job's PATH begins with these commands, and this one would hide the user's own.
    """
    if next(prefix.glob("lib/python*/site-packages/msgspec"), None) is None:
        (prefix / "bin" / "perdure").unlink(missing_ok=True)


def _clear(prefix: Path) -> None:
    """Remove what an interrupted installation left."""
    try:
        if prefix.exists():
            # The marker first: half removed must not look complete.
            (prefix / MARKER).unlink(missing_ok=True)
            shutil.rmtree(prefix)
    except OSError as error:
        raise unwritable(prefix, error) from error
