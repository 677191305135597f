"""The packages of an environment, as one value: what a lock, a job or an installation has."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from perdure.errors import EnvironmentFailed
from perdure.model.image import ImageLock

Versions = Mapping[str, str]

_ITSELF = ("virtual", "editable", "directory")
NONE: Versions = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Packages:
    """The packages of an environment by who installs them, names to versions.

    `label` is how messages call it. What is None is not known: a uv.lock alone says nothing of
    apt, conda, Python and the base image. Where a lock has several versions, for one variant or
    platform each, they stand side by side.
    """

    label: str
    pip: Versions
    apt: Versions | None = None
    conda: Versions | None = None
    python: str | None = None
    base: str | None = None


def of_lock(label: str, lock: str, image: ImageLock | None = None) -> Packages:
    """Return the packages of the text of a uv.lock, and of a perdure.lock beside it.

    Raises:
        EnvironmentFailed: it is no lock.
    """
    try:
        document = tomllib.loads(lock)
    except tomllib.TOMLDecodeError as error:
        raise EnvironmentFailed(f"`{label}` is no lock: {error}", hint="perdure lock") from error
    pip = locked_versions(document)
    if image is None:
        return Packages(label, pip)
    apt = {each.name: each.version for stage in image.apt.values() for each in stage}
    conda = {each.name: f"{each.version} {each.build}".strip() for each in image.conda}
    base = f"{image.base.name} {image.base.layers[:12]}" if image.base else None
    known = apt if image.base or apt else None
    return Packages(label, pip, known, conda, image.python or None, base)


def locked_versions(document: Mapping[str, object]) -> Versions:
    """Return the versions of a parsed uv.lock by package, without the project itself."""
    found: dict[str, set[str]] = {}
    packages = document.get("package")
    for each in packages if isinstance(packages, list) else []:
        source = each.get("source", {})
        if not any(source.get(kind) == "." for kind in _ITSELF):
            found.setdefault(str(each.get("name", "")), set()).add(_version(each, source))
    return MappingProxyType({name: ", ".join(sorted(found[name])) for name in sorted(found)})


def _version(package: Mapping[str, object], source: Mapping[str, object]) -> str:
    """Return a version; that of a repository with its commit, which is what decides."""
    version = str(package.get("version", ""))
    repository = source.get("git")
    commit = str(repository).rpartition("#")[2][:12] if repository else ""
    return f"{version} ({commit})".strip() if commit else version
