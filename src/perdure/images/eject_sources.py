"""Where packages are taken from that lie in a folder of this machine: the project's own indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from perdure.environments.lock import read_manifest
from perdure.environments.manifest import Manifest
from perdure.images.recipe import Recipe
from perdure.model.image import Requirement, Tier
from perdure.model.project import Project


@dataclass(frozen=True, slots=True)
class Source:
    """A package that comes from a folder of this machine, and the index it is taken from instead.

    `index` is None where it is the default one.
    """

    package: str
    index: str | None


def from_indexes(project: Project, recipe: Recipe) -> tuple[Recipe, tuple[Source, ...]]:
    """Return the recipe without wheels that lie outside the project, and what was changed.

    Their hashes stay: another file of that name and version is refused. Reads pyproject.toml.
    """
    manifest = read_manifest(project)
    found: dict[str, str | None] = {}

    def portable(requirement: Requirement) -> Requirement:
        file = requirement.file
        if file is None or _is_inside(file, project.root):
            return requirement
        found[requirement.name] = _index_of(manifest, requirement.name)
        return replace(requirement, file=None, index=found[requirement.name])

    tiers: Mapping[Tier, tuple[Requirement, ...]] = MappingProxyType(
        {tier: tuple(map(portable, content)) for tier, content in recipe.tiers.items()}
    )
    development = tuple(map(portable, recipe.development))
    sources = tuple(Source(name, index) for name, index in sorted(found.items()))
    return replace(recipe, tiers=tiers, development=development), sources


def _is_inside(file: Path, root: Path) -> bool:
    return file.resolve().is_relative_to(root.resolve())


def _index_of(manifest: Manifest, package: str) -> str | None:
    for name, url in manifest.indexes().items():
        if package in manifest.packages_from(name):
            return url
    return None
