"""The lock of a project's environment: `uv.lock`, made when it is missing or no longer fits."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.environments.exclusive import alone
from perdure.environments.indexes import replacements, without_credentials
from perdure.environments.machine import masked
from perdure.environments.manifest import Manifest
from perdure.environments.uv import (
    Machine,
    prepare_state,
    python_words,
    run_uv,
    this_machine,
    unwritable,
    with_cache,
    without_folders,
)
from perdure.errors import EnvironmentFailed, StorageError, UsageError
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Index, Settings

LOCK_FILE = "uv.lock"
PROJECT_FILE = "pyproject.toml"

_RECORD = "lock.json"
_HELD = "lock.lock"
_TIMEOUT_S = 900.0
# From the folder that is a copy of the project for uv back to the project.
_UP = "../../"
# What a copy of the project for uv has no use for; all else is linked into it.
UNNEEDED = frozenset((PROJECT_FILE, LOCK_FILE, ".git", ".perdure", ".venv", "data", "results"))
_LOCAL_REGISTRY = re.compile(r'registry = "(?![a-z]+s?://)([^"]+)"')


@dataclass(frozen=True, slots=True)
class LockInfo:
    """A lock that fits its project: the SHA-256 of uv.lock, and the variant to take from it."""

    digest: str
    path: Path
    variant: str | None


def ensure_lock(project: Project, settings: Settings, *, report: Report = silent) -> LockInfo:
    """Return the lock of the project, resolved by uv first if it is missing or does not fit.

    Nothing is run while pyproject.toml asks for what it asked for when the lock was made.

    Raises:
        EnvironmentFailed: uv found no resolution.
        MissingProgram: there is no uv.
        StorageError: the lock cannot be written.
    """
    manifest = read_manifest(project)
    wanted = manifest.digest(project.root, _explicit(manifest, settings))
    digest = lock_digest(project)
    if digest is None or _recorded(project) != (wanted, digest):
        prepare_state(project.state)
        with alone(project.state / _HELD, "resolving the dependencies", report):
            digest = lock_digest(project)
            if digest is None or _recorded(project) != (wanted, digest):
                digest = _resolve(project, manifest, settings, report)
                _record(project, wanted, digest)
    variant = settings.default_variant or project.environment.default_variant
    return LockInfo(digest, project.root / LOCK_FILE, variant)


def relock(project: Project, settings: Settings, *, report: Report = silent) -> LockInfo:
    """Return the lock after asking uv again, even if it seems to fit. Raises as `ensure_lock`."""
    (project.state / _RECORD).unlink(missing_ok=True)
    return ensure_lock(project, settings, report=report)


def lock_digest(project: Project) -> str | None:
    """Return the SHA-256 of the project's uv.lock, None where there is none."""
    try:
        return hashlib.sha256((project.root / LOCK_FILE).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def read_manifest(project: Project) -> Manifest:
    """Return what the project's pyproject.toml asks for.

    Raises:
        UsageError: it is not valid TOML.
    """
    file = project.root / PROJECT_FILE
    try:
        return Manifest.of(tomllib.loads(file.read_bytes().decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"`{file}` is not valid TOML: {error}") from error
    except OSError as error:
        raise StorageError(f"cannot read `{file}`: {(error.strerror or '').lower()}") from error


def _explicit(manifest: Manifest, settings: Settings) -> list[Index]:
    """Return the user's indexes that matter here, without their passwords."""
    named = manifest.indexes()
    return [
        without_credentials(each)[0] for each in settings.indexes.values() if each.name in named
    ]


def _recorded(project: Project) -> tuple[str, str] | None:
    try:
        record = json.loads((project.state / _RECORD).read_bytes())
        return record["wanted"], record["lock"]
    except (OSError, ValueError, KeyError, TypeError):
        # Missing or torn: uv is asked once more, which finds that the lock fits or mends it.
        return None


def _record(project: Project, wanted: str, digest: str) -> None:
    record = {"format": 1, "wanted": wanted, "lock": digest}
    _write(project.state / _RECORD, json.dumps(record).encode())


def _resolve(project: Project, manifest: Manifest, settings: Settings, report: Report) -> str:
    """Return the digest of a lock that fits, written by uv."""
    machine = this_machine()
    found = replacements(manifest, settings.indexes, machine.folders)
    for name in found.keys() - settings.indexes.keys():
        report(
            f"index `{name}` is replaced by a folder of wheels of this machine: {found[name].url}"
        )
    report("resolving the dependencies with uv")
    bare, environ = _for_uv(machine, found, project)
    words = ("lock", *python_words(project, manifest))
    before = lock_digest(project)
    if found:
        with _staging(project.state) as stage:
            _fill(stage, project, manifest.staged(bare, _UP))
            run_uv(words, cwd=stage, environ=environ, timeout_s=_TIMEOUT_S, report=report)
            content = (stage / LOCK_FILE).read_bytes()
        _write(project.root / LOCK_FILE, content.replace(f'"{_UP}../'.encode(), b'"../'))
    else:
        run_uv(words, cwd=project.root, environ=environ, timeout_s=_TIMEOUT_S, report=report)
    digest = lock_digest(project)
    if digest is None:
        raise EnvironmentFailed(f"`uv lock` wrote no `{LOCK_FILE}`")
    if digest != before:
        _warn_of_folders(project.root / LOCK_FILE, report)
    return digest


def _for_uv(
    machine: Machine, found: Mapping[str, Index], project: Project
) -> tuple[dict[str, Index], dict[str, str]]:
    """Return the indexes without passwords, and the environment that has them."""
    bare, environ = {}, with_cache(machine.environ, project.state)
    for name, index in found.items():
        bare[name], secrets = without_credentials(index)
        environ |= secrets
    if not environ.get("UV_NO_INDEX"):
        environ = without_folders(environ, [each.url for each in found.values()])
    return bare, environ


@contextlib.contextmanager
def _staging(state: Path) -> Iterator[Path]:
    try:
        stage = Path(tempfile.mkdtemp(prefix="lock-", dir=state))
    except OSError as error:
        raise unwritable(state, error) from error
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _fill(stage: Path, project: Project, manifest: str) -> None:
    """Make a folder that is the project to uv, but for its pyproject.toml."""
    try:
        (stage / PROJECT_FILE).write_text(manifest, encoding="utf-8")
        for entry in project.root.iterdir():
            if entry.name not in UNNEEDED:
                (stage / entry.name).symlink_to(entry.absolute())
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(project.root / LOCK_FILE, stage / LOCK_FILE)
    except OSError as error:
        raise unwritable(stage, error) from error


def _warn_of_folders(lock: Path, report: Report) -> None:
    folders = sorted(set(_LOCAL_REGISTRY.findall(lock.read_text("utf-8"))))
    if folders:
        report(
            "warning: uv.lock names folders of this machine; lock again elsewhere: "
            + masked(", ".join(folders))
        )


def _write(file: Path, content: bytes) -> None:
    """Write the file whole or not at all."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(content)
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise unwritable(file.parent, error) from error
