"""The installed environment of a lock: a folder of its own, complete or absent, shared by jobs."""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.environments.exclusive import alone
from perdure.environments.lock import LOCK_FILE, LockInfo, ensure_lock, read_manifest
from perdure.environments.uv import (
    prepare_state,
    python_words,
    run_uv,
    this_machine,
    unwritable,
    with_cache,
)
from perdure.errors import ConflictError, EnvironmentFailed
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

MARKER = "perdure-environment.json"

_FOLDER = "environments"
_DIGITS = 16
_TIMEOUT_S = 3600.0


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
    """Return the environment of the project's lock, locked and installed first if need be.

    The project itself is not in it: a job imports `Project.source` or its snapshot's.

    Raises:
        EnvironmentFailed: no such variant, no resolution, or uv could not install.
        MissingProgram: there is no uv.
        StorageError: no space, or a folder that cannot be written.
        TimeoutExpired: another perdure has been installing it for an hour.
    """
    chosen = choose_variant(project, settings, variant)
    lock = ensure_lock(project, settings, report=report)
    handle = handle_of(project, lock.digest, chosen)
    if not is_complete(handle):
        prepare_state(handle.prefix.parent)
        held = handle.prefix.with_name(f"{handle.prefix.name}.lock")
        with alone(held, "installing this environment", report):
            if not is_complete(handle):
                _install(project, settings, handle, lock, report)
    return handle


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
    handle = handle_of(project, lock.digest, lock.variant)
    if not is_complete(handle):
        prepare_state(handle.prefix.parent)
        held = handle.prefix.with_name(f"{handle.prefix.name}.lock")
        with alone(held, "installing this environment", report):
            if not is_complete(handle):
                _install(replace(project, root=source), settings, handle, lock, report)
    return handle


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


def _install(
    project: Project,
    settings: Settings,
    handle: EnvironmentHandle,
    lock: LockInfo,
    report: Report,
) -> None:
    """Install it in place (its scripts hold its path), and mark it when it is complete."""
    report(f"installing the environment ({handle.variant or 'default'}) with uv")
    machine = this_machine()
    environ = with_cache(machine.environ, project.state)
    environ["UV_PROJECT_ENVIRONMENT"] = str(handle.prefix)
    logins = [each.url for each in settings.indexes.values() if "@" in each.url]
    if logins:
        # The lock has bare URLs; an index with the same one is where uv finds the password.
        environ["UV_INDEX"] = " ".join([*logins, environ.get("UV_INDEX", "")]).strip()
    extra = ("--extra", handle.variant) if handle.variant else ()
    python = python_words(project, read_manifest(project))
    words = ("sync", "--frozen", "--no-install-project", *extra, *python)
    _clear(handle.prefix)
    run_uv(words, cwd=project.root, environ=environ, timeout_s=_TIMEOUT_S, report=report)
    content = lock.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != lock.digest:
        raise ConflictError(
            f"`{lock.path}` was changed while it was being installed", hint="run it again"
        )
    _mark(handle, content)


def _mark(handle: EnvironmentHandle, lock: bytes) -> None:
    """Write the marker, last: without it the folder counts for nothing."""
    marker = {"format": 1, "lock": handle.lock_digest, "variant": handle.variant}
    fresh = handle.prefix / f".{MARKER}"
    try:
        _leave_command_out(handle.prefix)
        (handle.prefix / LOCK_FILE).write_bytes(lock)
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
