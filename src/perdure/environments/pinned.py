"""perdure.lock kept up to date: the Python packages always, the image where an engine answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from perdure.environments.exclusive import alone
from perdure.environments.fingerprint import apt_packages, fingerprint
from perdure.environments.lock import HINT, check_lock, lock_packages, read_manifest
from perdure.environments.lockfile import (
    PINNED_FILE,
    read_head,
    read_pinned,
    write_pinned,
)
from perdure.environments.manifest import Manifest
from perdure.environments.sync import choose_variant
from perdure.errors import EngineUnreachable, EnvironmentFailed, MissingProgram
from perdure.hosts.engine import Engine, find_engine
from perdure.model.debian import STAGES
from perdure.model.image import ImageLock, PythonSource
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

__all__ = ["PINNED_FILE", "check_pinned", "ensure_pinned", "read_pinned", "require_pinned"]

_HELD = "pinned.lock"
_UV_S = 60.0
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def ensure_pinned(
    project: Project, settings: Settings, *, report: Report = silent, refresh: bool = False
) -> ImageLock:
    """Return perdure.lock once all of it, and uv.lock, fit the declarations.

    Where no engine answers the image is not locked: `base` is None then, unless what was locked
    before still fits. `refresh`: everything as if there had been no lock. Touches disk and network.

    Raises:
        EnvironmentFailed: no resolution, no such package, a base image that cannot be had. The
            Python part is written by then, and an image that no longer fits is left out.
        MissingProgram: there is no uv.
        StorageError: a lock cannot be written.
    """
    lock = lock_packages(project, settings, refresh=refresh, report=report)
    wanted = fingerprint(project, read_manifest(project)).image
    if _fits(lock, wanted) and not refresh:
        return lock
    try:
        engine = find_engine(settings)
    except (EngineUnreachable, MissingProgram) as error:
        report(f"the image was not locked, `local` needs none: {error.message}")
        return lock if _fits(lock, wanted) else _without_image(project, lock)
    with alone(project.state / _HELD, "locking the image", report):
        lock = read_pinned(project) or lock
        if _fits(lock, wanted) and not refresh:
            return lock
        try:
            lock = replace(_image(project, lock, engine, report, refresh=refresh), image=wanted)
        except EnvironmentFailed:
            if not _fits(lock, wanted):
                _without_image(project, lock)
            raise
        write_pinned(project, lock)
        return lock


def require_pinned(project: Project, settings: Settings, *, report: Report = silent) -> ImageLock:
    """Return perdure.lock with its image, made if it is missing, refused if it is out of date.

    Raises:
        EnvironmentFailed: it is older than its declarations, or cannot be made.
        EngineUnreachable: there is no image in it, and no engine answers.
    """
    check_lock(project)
    lock = ensure_pinned(project, settings, report=report)
    if lock.base is None:
        # What kept it from being locked is the error now.
        find_engine(settings)
        raise _no_image()
    return lock


def check_pinned(project: Project, settings: Settings) -> None:
    """Return if the lock fits the declarations and has an image. Reads files only.

    Raises:
        EnvironmentFailed: there is no lock, it is older than its declarations, it has no image, or
            the user's variant is not one of the project.
    """
    choose_variant(project, settings, None)
    head = read_head(project)
    if check_lock(project) is None or head is None:
        raise EnvironmentFailed(f"project `{project.name}` is not locked yet", hint=HINT)
    if not head.image:
        raise _no_image()


def _no_image() -> EnvironmentFailed:
    return EnvironmentFailed(
        "perdure.lock has no image: no container engine answered when it was made", hint=HINT
    )


def _fits(lock: ImageLock, wanted: str) -> bool:
    return lock.base is not None and lock.image == wanted


def _without_image(project: Project, lock: ImageLock) -> ImageLock:
    """Return the lock with its Python part only, written."""
    bare = ImageLock(lock.wanted, lock.uv, lock.tiers, lock.platform, conda=lock.conda)
    write_pinned(project, bare)
    return bare


def _image(
    project: Project, lock: ImageLock, engine: Engine, report: Report, *, refresh: bool
) -> ImageLock:
    """Return the lock with its image as the engine has it. Runs containers."""
    from perdure.environments.apt import Asked, lock_apt
    from perdure.environments.base import find_base
    from perdure.environments.interpreter import satisfies

    environment, manifest = project.environment, read_manifest(project)
    platform = lock.platform if lock.base is not None and not refresh else None
    base, platform = find_base(engine, environment.base, platform, refresh=refresh, report=report)
    own = satisfies(base.python or "0", environment.python, manifest.requires_python)
    own &= base.python is not None
    declared = {stage: apt_packages(environment, stage) for stage in STAGES}
    asked = Asked(declared, _origins(project), python=not own and environment.conda is None)
    apt = lock_apt(engine, base, platform, asked, report=report)
    if environment.conda is not None:
        # Locked with the Python packages, which are resolved beside them.
        from perdure.environments.conda.beside import python_for

        source, python = PythonSource.UV, python_for(lock.conda, platform)
    else:
        source, python = _python(project, manifest, platform, (base.python, apt.python))
    return replace(
        lock,
        platform=platform,
        base=base,
        python=python,
        python_source=source,
        apt=apt.with_python if source is PythonSource.APT else apt.stages,
    )


def _python(
    project: Project, manifest: Manifest, platform: str, here: tuple[str | None, str | None]
) -> tuple[PythonSource, str]:
    """Return where Python comes from, and its version. uv is asked only if it has to be."""
    from perdure.environments.interpreter import choose_python, unfit

    declared, requires = project.environment.python, manifest.requires_python
    base, debian = here
    found = choose_python(declared, requires, base=base, debian=debian)
    if found is None:
        others = list(_uv_pythons(project, platform))
        found = choose_python(declared, requires, base=None, debian=None, others=others)
    if found is None:
        raise unfit(declared, requires)
    return found


def _uv_pythons(project: Project, platform: str) -> Iterator[str]:
    """Yield the Pythons that uv can install on the platform, new ones first. Runs uv."""
    from perdure.environments.uv import run_uv, this_machine

    words = ("python", "list", "--only-downloads", "--all-platforms", "--all-versions")
    text = run_uv(
        (*words, "--output-format", "json"),
        cwd=project.root,
        environ=this_machine().environ,
        timeout_s=_UV_S,
        report=silent,
    )
    architecture = platform.partition("/")[2].partition("/")[0]
    wanted = ("cpython", "default", "linux", "gnu", _ARCHITECTURES.get(architecture, architecture))
    keys = ("implementation", "variant", "os", "libc", "arch")
    for each in json.loads(text):
        version = str(each.get("version", ""))
        if tuple(each.get(key) for key in keys) == wanted and version.replace(".", "").isdigit():
            yield version


def _origins(project: Project) -> dict[str, str]:
    """Return where the Debian packages of each stage are declared, for messages."""
    return {
        stage: f"`{declared.relative_to(project.root)}`"
        if isinstance(declared, Path) and declared.is_relative_to(project.root)
        else f"`apt.{stage}`"
        for stage, declared in project.environment.apt.items()
    }
