"""Everything that an image depends on, as one value: the same recipe gives the same image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from perdure.errors import EnvironmentFailed
from perdure.model.image import (
    AptPackage,
    Base,
    CondaPackage,
    ImageLock,
    ImageUser,
    PythonSource,
    Requirement,
    Tier,
)
from perdure.model.project import Project, Step
from perdure.model.settings import Settings
from perdure.project.distribution import Distribution, distribution_of

DEV_GROUP = "dev"

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image depends on, its stage and its code aside.

    `tiers` has the packages of each layer in order of their names, `development` what the dev stage
    adds. `uv` is the version of uv that installs; `origins` says in which file apt packages of a
    stage are declared. `itself` is the project as it is installed, editable.
    """

    project: str
    package: str
    variant: str | None
    user: ImageUser
    platform: str
    base: Base
    python: str
    python_source: PythonSource
    tiers: Mapping[Tier, tuple[Requirement, ...]]
    uv: str
    development: tuple[Requirement, ...] = ()
    apt: Mapping[str, tuple[AptPackage, ...]] = field(default_factory=lambda: MappingProxyType({}))
    conda: tuple[CondaPackage, ...] = ()
    steps: tuple[Step, ...] = ()
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    itself: Distribution = field(default_factory=lambda: Distribution("project"))

    def packages(self) -> tuple[Requirement, ...]:
        """Return every Python package of the runtime stage."""
        return tuple(each for tier in Tier for each in self.tiers.get(tier, ()))


def make_recipe(
    project: Project,
    settings: Settings,
    lock: ImageLock,
    variant: str | None,
    user: ImageUser,
) -> Recipe:
    """Return the recipe of a project's image. Reads uv.lock's export, which is kept on disk.

    Raises:
        EnvironmentFailed: the lock was made without an engine, so that it has no base image.
        UsageError: a command of the project cannot be made.
    """
    from perdure.environments.requirements import export

    base = _base(lock)
    runtime = export(project, settings, variant)
    development = export(project, settings, variant, groups=(DEV_GROUP,))
    return Recipe(
        project=project.name,
        package=project.package,
        variant=variant,
        user=user,
        platform=lock.platform,
        base=base,
        python=lock.python,
        python_source=lock.python_source,
        tiers=tiers_of(runtime, lock.tiers),
        uv=uv_version(),
        development=_beyond(development, runtime),
        apt=lock.apt,
        conda=lock.conda,
        steps=project.environment.steps,
        origins=_origins(project),
        itself=_itself(project),
    )


def _itself(project: Project) -> Distribution:
    from perdure.environments.resolve import read_manifest

    return distribution_of(read_manifest(project).document, project.root)


def _beyond(
    development: Iterable[Requirement], runtime: Iterable[Requirement]
) -> tuple[Requirement, ...]:
    """Return the packages that only development has."""
    known = {each.name for each in runtime}
    return tuple(_hashed(each) for each in development if each.name not in known)


def _base(lock: ImageLock) -> Base:
    if lock.base is None:
        raise EnvironmentFailed(
            "perdure.lock names no base image: it was made where no container engine was",
            hint="perdure lock",
        )
    return lock.base


def tiers_of(
    requirements: Iterable[Requirement], tiers: Mapping[str, Tier]
) -> Mapping[Tier, tuple[Requirement, ...]]:
    """Return the packages of each layer; one that the lock does not place comes last."""
    layers: dict[Tier, list[Requirement]] = {tier: [] for tier in Tier}
    for each in sorted(requirements, key=lambda each: (each.name, each.version, each.marker)):
        layers[tiers.get(each.name, Tier.LIGHT)].append(_hashed(each))
    return MappingProxyType({tier: tuple(found) for tier, found in layers.items()})


def uv_version() -> str:
    """Return the version of uv that installs into images: the one this perdure came with.

    It is in the name of a folder; `importlib.metadata` would read mail headers, for 15 ms.
    """
    from importlib.util import find_spec

    spec = find_spec("uv")
    if spec is not None and spec.origin is not None:
        for folder in Path(spec.origin).parents[1].glob("uv-*.dist-info"):
            return folder.name.removesuffix(".dist-info").removeprefix("uv-")
    return _asked()


def _asked() -> str:
    """Return the version of the uv on PATH. Runs it."""
    import os

    from perdure.environments.uv import find_uv
    from perdure.hosts import local

    said = local.run([find_uv(os.environ), "--version"], timeout_s=30).text
    found = re.search(r"\d+(\.\d+)+", said)
    if found is None:
        raise EnvironmentFailed(f"`uv --version` said no version: `{said}`")
    return found[0]


def _hashed(requirement: Requirement) -> Requirement:
    """Return the package with a hash; that of its file where the lock has none."""
    if requirement.hashes or requirement.file is None:
        return requirement
    return replace(requirement, hashes=(f"sha256:{file_digest(requirement.file)}",))


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's contents."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _origins(project: Project) -> Mapping[str, str]:
    found = {}
    for stage, declared in project.environment.apt.items():
        if isinstance(declared, Path):
            inside = declared.is_relative_to(project.root)
            name = declared.relative_to(project.root) if inside else declared
            found[stage] = f"{name}"
        else:
            found[stage] = f"`apt.{stage}` under `[tool.perdure.environment]` in pyproject.toml"
    return MappingProxyType(found)
