"""`perdure eject`: plain files that build and run a project's images without perdure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.render import Console

if TYPE_CHECKING:
    from perdure.images.eject_sources import Source

KINDS = ("dockerfile", "compose", "devcontainer")
FEW = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `eject` takes."""
    parser.add_argument("kind", choices=KINDS, help="what to write; each comes with a Dockerfile")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write it (the project's folder)"
    )
    parser.add_argument("--variant", help="the environment's variant, such as cpu or cuda")
    parser.add_argument("--force", action="store_true", help="overwrite files that were edited")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the files are there."""
    from perdure.development.image import recipe_of
    from perdure.images.eject import eject
    from perdure.images.eject_files import write
    from perdure.jobs.workspace import open_workspace, storing

    workspace = open_workspace(Path.cwd())
    output = (arguments.output or workspace.project.root).absolute()
    recipe = recipe_of(workspace, arguments.variant, report=console)
    # A container is given the folders there are; it has to have one for results.
    with storing("the folder of results"):
        workspace.project.results.mkdir(exist_ok=True)
    ejection = eject(workspace.project, recipe, arguments.kind, output)
    changed = write(ejection.files, output, force=arguments.force)
    for line in moved(ejection.sources):
        console.say(line)
    shown = [path for path in changed if path.count("/") < 2][:FEW]
    console.lines([str(output / path) for path in shown])
    if len(changed) > len(shown):
        console.say(f"and {len(changed) - len(shown)} more, in {output / 'docker'}")
    if not changed:
        console.say("nothing to write: they are there as they should be")
    return 0


def moved(sources: Sequence[Source]) -> list[str]:
    """Return a line for each index that packages are taken from, which lie in a folder here."""
    by_index: dict[str | None, list[str]] = {}
    for source in sources:
        by_index.setdefault(source.index, []).append(source.package)
    lines = []
    for index, packages in by_index.items():
        place = f"`{index}`" if index else "the default index"
        more = f" and {len(packages) - FEW} more" if len(packages) > FEW else ""
        lie, them = ("lies", "it") if len(packages) == 1 else ("lie", "them")
        listed = ", ".join(packages[:FEW]) + more
        lines.append(f"{listed} {lie} in a folder here; the files take {them} from {place}")
    return lines
