"""`perdure eject`: plain files that build and run a project's images without perdure."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.render import Console

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
    for source in ejection.sources:
        place = f"`{source.index}`" if source.index else "the default index"
        console.say(f"`{source.package}` lies in a folder here; the files take it from {place}")
    shown = [path for path in changed if path.count("/") < 2][:FEW]
    console.lines([str(output / path) for path in shown])
    if len(changed) > len(shown):
        console.say(f"and {len(changed) - len(shown)} more, in {output / 'docker'}")
    if not changed:
        console.say("nothing to write: they are there as they should be")
    return 0
