"""Python packages resolved by uv into uv.lock, with the indexes that this machine uses instead."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from perdure.environments.indexes import replacements, without_credentials
from perdure.environments.lockfile import write_whole
from perdure.environments.machine import masked
from perdure.environments.manifest import Manifest
from perdure.environments.unknown import naming_unknown
from perdure.environments.uv import (
    Machine,
    python_words,
    run_uv,
    this_machine,
    unwritable,
    with_cache,
    without_folders,
)
from perdure.environments.wheel_hashes import known_hashes, with_hashes
from perdure.errors import EnvironmentFailed, StorageError, UsageError
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Index, Settings

LOCK_FILE = "uv.lock"
PROJECT_FILE = "pyproject.toml"

_TIMEOUT_S = 900.0
# From the folder that is a copy of the project for uv back to the project.
_UP = "../../"
# What a copy of the project for uv has no use for; all else is linked into it.
UNNEEDED = frozenset((PROJECT_FILE, LOCK_FILE, ".git", ".perdure", ".venv", "data", "results"))
_LOCAL_REGISTRY = re.compile(r'registry = "(?![a-z]+s?://)([^"]+)"')


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
        return _manifest(file.read_bytes())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"`{file}` is not valid TOML: {error}") from error
    except OSError as error:
        raise StorageError(f"cannot read `{file}`: {(error.strerror or '').lower()}") from error


@lru_cache(maxsize=4)
def _manifest(content: bytes) -> Manifest:
    """Return what the text asks for: one command asks many times."""
    return Manifest.of(tomllib.loads(content.decode("utf-8")))


def resolve(
    project: Project,
    manifest: Manifest,
    settings: Settings,
    *,
    upgrade: bool = False,
    cached: bool = False,
    report: Report = silent,
) -> str:
    """Return the digest of a uv.lock that fits the project. Touches disk and network.

    `upgrade`: to the newest versions that the declarations allow; else versions stay if they can.
    `cached`: nearly the same was resolved a moment ago, so the network may not be needed.

    Raises:
        EnvironmentFailed: uv found no resolution, or there is no such package.
        MissingProgram: there is no uv.
        StorageError: the lock cannot be written.
    """
    machine = this_machine()
    found = replacements(manifest, settings.indexes, machine.folders)
    for name in found.keys() - settings.indexes.keys():
        report(
            f"index `{name}` is replaced by a folder of wheels of this machine: {found[name].url}"
        )
    report("resolving the dependencies with uv")
    bare, environ = _for_uv(machine, found, project)
    words = ("lock", *(["--upgrade"] if upgrade else []), *python_words(project, manifest))
    before, hashes = lock_digest(project), known_hashes(project.root / LOCK_FILE)
    staged = manifest.staged(bare, _UP) if found or manifest != read_manifest(project) else None
    with naming_unknown(project, manifest):
        if not (cached and _run_offline(words, project, staged, environ)):
            _run(words, project, staged, environ, report)
    _add_hashes(project, hashes)
    digest = lock_digest(project)
    if digest is None:
        raise EnvironmentFailed(f"`uv lock` wrote no `{LOCK_FILE}`")
    if digest != before:
        _warn_of_folders(project.root / LOCK_FILE, report)
    return digest


def _run_offline(
    words: Sequence[str], project: Project, manifest: str | None, environ: Mapping[str, str]
) -> bool:
    """Return whether uv wrote the uv.lock from what its cache has."""
    try:
        _run((*words, "--offline"), project, manifest, environ, silent)
    except EnvironmentFailed:
        return False
    return True


def _run(
    words: Sequence[str],
    project: Project,
    manifest: str | None,
    environ: Mapping[str, str],
    report: Report,
) -> None:
    """Write the uv.lock of the project; with `manifest`, another text for its pyproject.toml."""
    if manifest is None:
        run_uv(words, cwd=project.root, environ=environ, timeout_s=_TIMEOUT_S, report=report)
        return
    with _staging(project.state) as stage:
        _fill(stage, project, manifest)
        run_uv(words, cwd=stage, environ=environ, timeout_s=_TIMEOUT_S, report=report)
        content = (stage / LOCK_FILE).read_bytes()
    write_whole(project.root / LOCK_FILE, content.replace(f'"{_UP}../'.encode(), b'"../'))


def _add_hashes(project: Project, known: Mapping[Path, str]) -> None:
    """Write the hashes of this machine's wheels into uv.lock, where it lacks any."""
    file = project.root / LOCK_FILE
    if file.exists():
        text = file.read_bytes().decode("utf-8")
        complete = with_hashes(text, project.root, known)
        if complete != text:
            write_whole(file, complete.encode())


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
