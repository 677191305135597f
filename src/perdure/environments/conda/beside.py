"""Conda beside uv: locked before it, installed before it, and never changed by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from perdure.environments.conda.install import install_conda, subdir
from perdure.environments.conda.joined import MARK, digest_of, joined
from perdure.environments.conda.lock import lock_conda, pip_requirements
from perdure.environments.conda.platforms import subdir_of, this_linux
from perdure.environments.conda.provided import names
from perdure.environments.lockfile import read_pinned
from perdure.environments.manifest import Manifest
from perdure.errors import EnvironmentFailed
from perdure.model.image import CondaPackage
from perdure.model.project import Project
from perdure.model.report import Report, silent

_LEAST = re.compile(r"(?:>=|==|~=)\s*(\d+\.\d+)")
_UV_LOCK = "uv.lock"


def lock_beside(
    project: Project,
    file: Path,
    manifest: Manifest,
    platform: str | None,
    *,
    previous: Sequence[CondaPackage] = (),
    report: Report = silent,
) -> tuple[Manifest, tuple[CondaPackage, ...]]:
    """Return what uv is to resolve beside the conda packages of `file`, and those packages.

    `previous` are kept if they can. `platform` is an image's, None where none is locked: then Linux
    on this machine's kind of processor. Touches disk and network. Raises as `lock_conda`.
    """
    platform = platform or this_linux()
    python = project.environment.python or _least_python(manifest)
    packages = lock_conda(project, file, platform, python, previous=previous, report=report)
    return joined(manifest, pip_requirements(file, platform, report=report), packages), packages


def python_for(packages: Sequence[CondaPackage], platform: str) -> str:
    """Return the version of conda's Python, for an image of that platform.

    Raises:
        EnvironmentFailed: the packages are for another one.
    """
    locked, wanted = subdir(packages), subdir_of(platform)
    if locked != wanted:
        raise EnvironmentFailed(
            f"the conda packages are locked for `{locked}`, the base image is for `{wanted}`",
            hint="perdure lock --again, on a machine of that kind",
        )
    return next(each.version for each in packages if each.name == "python")


def install_beside(project: Project, prefix: Path, *, report: Report = silent) -> tuple[str, ...]:
    """Install the locked conda packages, and return the words that `uv sync` needs to go along.

    Raises as `install_conda`.

    Raises:
        EnvironmentFailed: uv.lock was made beside other conda packages than perdure.lock has.
    """
    lock = read_pinned(project)
    packages = lock.conda if lock else ()
    uv_lock = (project.root / _UV_LOCK).read_text("utf-8")
    if not re.search(rf'"{MARK}", specifier = "==0\+{digest_of(packages)}"', uv_lock):
        raise EnvironmentFailed(
            "uv.lock was made beside other conda packages than those in perdure.lock",
            hint="perdure lock",
        )
    install_conda(packages, prefix, report=report)
    left = (word for name in names(packages) for word in ("--no-install-package", name))
    # Inexact: what conda has installed is not uv's to remove.
    return ("--inexact", *left, "--python", str(prefix / "bin" / "python"))


def _least_python(manifest: Manifest) -> str:
    """Return the oldest Python that the project is for: of the newest, packages are scarce."""
    found = _LEAST.search(manifest.requires_python)
    return found[1] if found else ""
