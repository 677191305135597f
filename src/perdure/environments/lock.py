"""The lock of a project's Python packages: uv.lock, with what perdure.lock says of it.

Made when it is missing. One that was made for other declarations is brought up to date only when
that is asked for: what a job runs with does not change behind anybody's back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.environments.conda.provided import agreeing
from perdure.environments.exclusive import alone
from perdure.environments.fingerprint import Fingerprint, fingerprint
from perdure.environments.lockfile import Head, read_head, read_pinned, write_pinned
from perdure.environments.manifest import Manifest
from perdure.environments.resolution import Resolution
from perdure.environments.resolve import (
    LOCK_FILE,
    PROJECT_FILE,
    UNNEEDED,
    lock_digest,
    read_manifest,
    resolve,
)
from perdure.environments.tiers import assign
from perdure.environments.uv import prepare_state
from perdure.errors import EnvironmentFailed
from perdure.model.image import CondaPackage, ImageLock, Tier
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

__all__ = [
    "LOCK_FILE",
    "PROJECT_FILE",
    "UNNEEDED",
    "LockInfo",
    "check_lock",
    "ensure_lock",
    "lock_digest",
    "lock_packages",
    "read_manifest",
    "require_lock",
]

HINT = "perdure lock"

_HELD = "lock.lock"


@dataclass(frozen=True, slots=True)
class LockInfo:
    """A lock that fits its project: the SHA-256 of uv.lock, and the variant to take from it."""

    digest: str
    path: Path
    variant: str | None


def require_lock(project: Project, settings: Settings, *, report: Report = silent) -> LockInfo:
    """Return the lock of the project, made if there is none. Asks no engine.

    Nothing is run while the lock fits what pyproject.toml asks for.

    Raises:
        EnvironmentFailed: the lock is older than its declarations; or uv found no resolution.
        MissingProgram: there is no uv.
        StorageError: the lock cannot be written.
    """
    digest = check_lock(project)
    if digest is None:
        return ensure_lock(project, settings, report=report)
    return _info(project, settings, digest)


def ensure_lock(
    project: Project, settings: Settings, *, cached: bool = False, report: Report = silent
) -> LockInfo:
    """Return the lock of the project, made or brought up to date if need be. Asks no engine.

    What perdure.lock says of images stays as it is, up to date or not. `cached`: nearly the same
    was resolved a moment ago. Raises as `require_lock`, but for a lock that is older than its
    declarations.
    """
    lock = lock_packages(project, settings, cached=cached, report=report)
    return _info(project, settings, lock.uv)


def lock_packages(
    project: Project,
    settings: Settings,
    *,
    refresh: bool = False,
    cached: bool = False,
    report: Report = silent,
) -> ImageLock:
    """Return perdure.lock once its Python part and uv.lock fit the declarations.

    `refresh`: newest versions, and tiers as if there had been no lock. `cached` and what it raises
    as for `ensure_lock`.
    """
    prepare_state(project.state)
    with alone(project.state / _HELD, "resolving the dependencies", report):
        manifest = read_manifest(project)
        wanted = fingerprint(project, manifest).packages
        before = _previous(project, refresh=refresh)
        fits = before and (before.wanted, before.uv) == (wanted, lock_digest(project))
        if before is not None and fits and not refresh:
            return before
        known = before or ImageLock(wanted, "", {})
        kept = replace(known, tiers={}, conda=()) if refresh else known
        joined, conda = _conda(project, manifest, kept, report)
        with agreeing(conda):
            digest = resolve(
                project, joined, settings, upgrade=refresh, cached=cached, report=report
            )
        tiers = _tiers(project, kept.tiers)
        lock = replace(known, wanted=wanted, uv=digest, tiers=tiers, conda=conda)
        write_pinned(project, lock)
        return lock


def check_lock(project: Project) -> str | None:
    """Return the digest of a lock that fits, None where there is none yet. Reads files only.

    Raises:
        EnvironmentFailed: it is older than its declarations.
    """
    head = read_head(project)
    digest = lock_digest(project)
    if head is None or digest is None:
        return None
    complaint = _complaint(head, fingerprint(project, read_manifest(project)), digest)
    if complaint:
        raise EnvironmentFailed(complaint, hint=HINT)
    return digest


def _complaint(head: Head, wanted: Fingerprint, digest: str) -> str | None:
    """Return why a lock does not fit, None where it does. Pure."""
    if head.wanted != wanted.packages:
        return "the lock is older than the dependencies that `pyproject.toml` declares"
    if head.uv != digest:
        return "`uv.lock` is not the one that `perdure.lock` was made with"
    if head.image and head.image != wanted.image:
        return (
            "the lock is older than what `[tool.perdure.environment]` declares: "
            "the base, Python, Debian or conda packages, or steps"
        )
    return None


def _previous(project: Project, *, refresh: bool) -> ImageLock | None:
    try:
        return read_pinned(project)
    except EnvironmentFailed:
        if refresh:
            return None
        raise


def _conda(
    project: Project, manifest: Manifest, kept: ImageLock, report: Report
) -> tuple[Manifest, tuple[CondaPackage, ...]]:
    """Return what uv is to resolve, and the conda packages that it is resolved beside."""
    file = project.environment.conda
    if file is None:
        return manifest, ()
    from perdure.environments.conda.beside import lock_beside

    platform = kept.platform if kept.base else None
    return lock_beside(project, file, manifest, platform, previous=kept.conda, report=report)


def _tiers(project: Project, previous: Mapping[str, Tier]) -> dict[str, Tier]:
    text = (project.root / LOCK_FILE).read_bytes().decode("utf-8")
    resolution = Resolution.of(text, project.root)
    packages = resolution.installed(project.environment.variants)
    return dict(assign(packages, resolution.sizes(), previous, project.root))


def _info(project: Project, settings: Settings, digest: str) -> LockInfo:
    variant = settings.default_variant or project.environment.default_variant
    return LockInfo(digest, project.root / LOCK_FILE, variant)
