"""What `perdure env show` says: an environment's parts in words, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure.cli.table import pad
from perdure.cli.words import counted, size
from perdure.errors import EngineUnreachable, MissingProgram, PerdureError

if TYPE_CHECKING:
    from perdure.environments.overview import Overview, TierSize
    from perdure.jobs.workspace import Workspace
    from perdure.model.project import Project

NOT_LOCKED = "not locked yet: perdure lock"


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image of the project: its stage, its tag, its size in bytes; None: it is not built."""

    stage: str
    tag: str
    bytes: int | None


def images_of(workspace: Workspace) -> list[NamedImage]:
    """Return the images that the lock stands for, none where that cannot be said. Builds nothing.

    An engine is asked whether it has them, if there is one.
    """
    from perdure.hosts.engine import find_engine
    from perdure.images.build import planned_image
    from perdure.model.image import Stage

    project, settings = workspace.project, workspace.settings
    try:
        tags = {stage.value: planned_image(project, settings, stage)[0] for stage in Stage}
    except PerdureError:
        # Not locked, or locked without an engine: the lines about the locks say so.
        return []
    try:
        engine = find_engine(settings)
        found = {stage: engine.inspect_image(tag) for stage, tag in tags.items()}
    except (MissingProgram, EngineUnreachable):
        found = {}
    facts = {stage: found.get(stage) for stage in tags}
    return [
        NamedImage(stage, tag, None if (fact := facts[stage]) is None else fact.size)
        for stage, tag in tags.items()
    ]


def about(project: Project, found: Overview, images: Sequence[NamedImage]) -> list[str]:
    """Return the environment as lines: what it is on the left, what it is made of on the right."""
    base = found.base
    rows = [
        ("project", f"{project.name} in {project.root}"),
        ("python", python_words(found)),
        ("variants", variants(project)),
        ("base", f"{found.wanted_base}, " + (f"locked as {base.layers[:12]}" if base else "open")),
        ("uv.lock", f"{counted(found.packages, 'package')}, {found.locked[:16]}")
        if found.locked
        else ("uv.lock", NOT_LOCKED),
        ("perdure.lock", "there" if found.pinned else NOT_LOCKED),
    ]
    for variant, tiers in found.tiers.items():
        rows.append((f"layers {variant}".strip(), "; ".join(map(tier_words, tiers))))
    rows += [(each.what, f"{', '.join(each.packages)}  ({each.file})") for each in found.declared]
    for stage, number in found.installed.items():
        if number:
            rows.append((f"apt {stage}, all", f"{counted(number, 'package')} that the base lacks"))
    rows += [(f"image {each.stage}", image_words(each)) for each in images]
    return aligned(rows)


def image_words(image: NamedImage) -> str:
    """Return an image's tag, and whether it is there."""
    there = "not built here" if image.bytes is None else f"built, {size(image.bytes)}"
    return f"{image.tag}  ({there})"


def python_words(found: Overview) -> str:
    """Return which Python there is, and who says so."""
    asked = found.wanted_python or found.requires_python or "any"
    where = "[tool.perdure.environment]" if found.wanted_python else "requires-python"
    return f"{asked}  ({where})" + (f", locked as {found.python}" if found.python else "")


def variants(project: Project) -> str:
    """Return the variants, the default one marked."""
    environment = project.environment
    default = environment.default_variant
    names = [f"{each} (default)" if each == default else each for each in environment.variants]
    return ", ".join(names) or "none"


def tier_words(tier: TierSize) -> str:
    """Return a layer: how many packages, how large."""
    large = f" ({size(tier.bytes)})" if tier.bytes else ""
    return f"{tier.tier.value} {tier.packages}{large}"


def aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return the rows as lines with their texts below each other."""
    width = max(len(label) for label, _ in rows) + 2
    return [f"{pad(label, width, right=False)}{text}" for label, text in rows]


def plain(project: Project, found: Overview, images: Sequence[NamedImage]) -> dict[str, object]:
    """Return all of it for a program."""
    base = found.base
    return {
        "project": project.name,
        "root": str(project.root),
        "python": {
            "declared": found.wanted_python,
            "requires": found.requires_python,
            "locked": found.python or None,
        },
        "variants": list(project.environment.variants),
        "default_variant": project.environment.default_variant,
        "base": {"declared": found.wanted_base, "layers": base.layers if base else None},
        "lock": found.locked,
        "packages": found.packages,
        "image_lock": found.pinned,
        "layers": {
            variant: {
                each.tier.value: {"packages": each.packages, "bytes": each.bytes} for each in tiers
            }
            for variant, tiers in found.tiers.items()
        },
        "declared": [
            {"what": each.what, "file": each.file, "packages": list(each.packages)}
            for each in found.declared
        ],
        "apt_installed": dict(found.installed),
        "images": {each.stage: {"tag": each.tag, "bytes": each.bytes} for each in images},
    }
