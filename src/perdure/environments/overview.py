"""What a project's environment is made of, and where each part is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from perdure.environments.fingerprint import apt_packages
from perdure.environments.lock import LOCK_FILE, lock_digest, read_manifest
from perdure.environments.lockfile import read_pinned
from perdure.environments.requirements import export
from perdure.environments.resolution import Resolution
from perdure.environments.revision import declared, declaring_file, places
from perdure.environments.tiers import assign
from perdure.environments.wanted import Kind
from perdure.errors import EnvironmentFailed
from perdure.model.image import Base, Tier
from perdure.model.project import Project
from perdure.model.settings import Settings


@dataclass(frozen=True, slots=True)
class TierSize:
    """A layer: how many packages, and the size of their wheels in bytes, 0 where not known."""

    tier: Tier
    packages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Declared:
    """Packages as they are declared: for what (`pip`, `dev`, `apt runtime`, ...), and the file."""

    what: str
    file: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """What an environment is made of. `locked`: the SHA-256 of uv.lock, None where there is none.

    `tiers` are those of each variant; `base` and `python` are as locked, None and "" where no image
    was; `installed` has the number of Debian packages of each stage that the base lacks.
    """

    requires_python: str
    wanted_python: str | None
    python: str
    wanted_base: str
    base: Base | None
    locked: str | None
    packages: int
    pinned: bool
    tiers: Mapping[str, tuple[TierSize, ...]]
    declared: tuple[Declared, ...]
    installed: Mapping[str, int]


def overview(project: Project, settings: Settings) -> Overview:
    """Return what the project's environment is made of. Reads its files and locks; may run uv.

    Raises:
        EnvironmentFailed: a lock is damaged.
    """
    environment = project.environment
    pinned = read_pinned(project)
    resolution = _resolution(project)
    base = None if pinned is None else pinned.base
    return Overview(
        requires_python=read_manifest(project).requires_python,
        wanted_python=environment.python,
        python="" if pinned is None else pinned.python,
        wanted_base=environment.base,
        base=base,
        locked=lock_digest(project),
        packages=len(resolution.packages),
        pinned=pinned is not None,
        tiers=_tiers(project, settings, resolution, None if pinned is None else pinned.tiers),
        declared=_declared(project),
        installed=MappingProxyType(
            {} if pinned is None else {name: len(found) for name, found in pinned.apt.items()}
        ),
    )


def _resolution(project: Project) -> Resolution:
    try:
        text = (project.root / LOCK_FILE).read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        text = ""
    return Resolution.of(text, project.root)


def _tiers(
    project: Project,
    settings: Settings,
    resolution: Resolution,
    previous: Mapping[str, Tier] | None,
) -> Mapping[str, tuple[TierSize, ...]]:
    sizes = resolution.sizes()
    found = {}
    for variant in project.environment.variants or ("",):
        try:
            packages = export(project, settings, variant or None)
        except EnvironmentFailed:
            # No lock, or one that no image can hold: what the lock itself says has to do.
            packages = resolution.installed([variant] if variant else [])
        tiers = assign(packages, sizes, previous, project.root)
        found[variant] = tuple(_size(tier, tiers, sizes) for tier in Tier)
    return MappingProxyType(found)


def _size(tier: Tier, tiers: Mapping[str, Tier], sizes: Mapping[str, int]) -> TierSize:
    names = [name for name, each in tiers.items() if each is tier]
    return TierSize(tier, len(names), sum(sizes.get(name, 0) for name in names))


def _declared(project: Project) -> tuple[Declared, ...]:
    found = []
    for place in places(project):
        stage = place.table
        packages = (
            apt_packages(project.environment, stage)
            if place.kind is Kind.APT
            else declared(project, place)
        )
        if packages:
            file = declaring_file(project, place)
            shown = file.relative_to(project.root) if file.is_relative_to(project.root) else file
            what = f"{place.kind.value}{' ' if place.words else ''}{_of(place.table)}".strip()
            found.append(Declared(what, str(shown), tuple(packages)))
    return tuple(found)


def _of(table: str) -> str:
    return table.rpartition(":")[2]
