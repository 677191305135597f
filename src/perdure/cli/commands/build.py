"""`perdure build`: the project's image, made where it is not there yet."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.render import Console
from perdure.cli.resources import HERE, add_target

if TYPE_CHECKING:
    from perdure.hosts.host import Host
    from perdure.images.ship_destination import Destination
    from perdure.jobs.workspace import Workspace
    from perdure.model.image import Image

STAGES = ("runtime", "dev")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `build` takes."""
    parser.add_argument(
        "stage",
        metavar="STAGE",
        nargs="?",
        choices=STAGES,
        default=STAGES[0],
        help="`runtime`, which runs jobs, or `dev`, which is worked in",
    )
    add_target(parser)
    parser.add_argument("--variant", metavar="NAME", help="the project's variant: cpu or cuda")
    parser.add_argument("--pegged", action="store_true", help="with the code as it is now in it")
    parser.add_argument("--push", metavar="REGISTRY", help="push it there, and name it by digest")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="print the Dockerfile and the engine's command; execute nothing",
    )
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the engine has the image, and the registry where one is named."""
    from perdure.images.inputs import recall

    if arguments.push is not None:
        registry_of(arguments.push)
    began_ns = time.time_ns()
    elsewhere = arguments.target not in HERE
    plain = not (arguments.explain or arguments.pegged or arguments.push or elsewhere)
    image = recall(Path.cwd(), arguments.stage, arguments.variant) if plain else None
    if image is None:
        return make(arguments, console, began_ns)
    tell(image, None, arguments, console)
    return 0


def make(arguments: argparse.Namespace, console: Console, began_ns: int) -> int:
    """Return 0 as above, after working out what is wanted; `began_ns`: nothing was read before."""
    # Here, not above: an image that is there already costs none of this.
    from dataclasses import replace

    from perdure.images.build import planned_image
    from perdure.images.inputs import described, remember
    from perdure.jobs.image import ensure_image_on, settings_on
    from perdure.jobs.workspace import open_workspace
    from perdure.model.image import Stage

    workspace = open_workspace(Path.cwd())
    project, stage = workspace.project, Stage(arguments.stage)
    host = host_of(workspace, arguments.target)
    settings = settings_on(host, workspace.settings)
    code = pegged_code(workspace, console) if arguments.pegged else None
    if arguments.explain:
        given = {"variant": arguments.variant, "code": code}
        explain(*planned_image(project, settings, stage, **given), arguments, console)
        return 0
    image = ensure_image_on(
        host, workspace, stage, variant=arguments.variant, code=code, report=console
    )
    if code is None and host.is_here:
        remember(project, settings, image, arguments.variant, began_ns)
    there = replace(workspace, settings=settings)
    pushed = push(there, image, arguments.push, console) if arguments.push else None
    tell(described(image), pushed, arguments, console)
    return 0


def host_of(workspace: Workspace, name: str) -> Host:
    """Return the host of a target; a host without a Python has one of the image's, later."""
    from perdure.targets.cluster import require_machine
    from perdure.targets.registry import open_target
    from perdure.targets.remote import Remote

    target = open_target(name, workspace.project, workspace.settings)
    require_machine(target, "images are built on a machine, and come there by a registry")
    # Where the project lies there is not asked.
    return target.host if isinstance(target, Remote) else target.place.host


def tell(
    image: Mapping[str, object],
    pushed: str | None,
    arguments: argparse.Namespace,
    console: Console,
) -> None:
    """Show the image that is there now."""
    if arguments.json:
        console.json({**image, "pushed": pushed})
    else:
        console.lines([pushed or str(image["tag"])])


def pegged_code(workspace: Workspace, console: Console) -> Path:
    """Return the snapshot of the working tree that goes into the image."""
    from perdure.jobs.snapshot import make_snapshot, read_tree
    from perdure.jobs.workspace import storing, submitting

    with storing("the code"), submitting(workspace.project):
        return make_snapshot(workspace.project, read_tree(workspace.project, console, store=True))


def push(workspace: Workspace, image: Image, registry: str, console: Console) -> str:
    """Return the name by which anybody gets exactly this image, once the registry has it."""
    from perdure.hosts.engine import find_engine
    from perdure.images.ship import ship

    destination = registry_of(registry)
    engine = find_engine(workspace.settings)
    shipped = ship(engine, image.tag, destination, settings=workspace.settings, report=console)
    return f"{shipped.called.rpartition(':')[0]}@{shipped.digest}"


def registry_of(text: str) -> Destination:
    """Return the registry that `--push` names. Looks nothing up.

    Raises:
        UsageError: it names none.
    """
    from perdure.errors import UsageError
    from perdure.images.ship_destination import Kind, parse_destination

    hint = "a host, with its port or a folder: `--push registry.lab:5000`"
    refused = UsageError(f"`--push {text}` names no registry", hint=hint)
    try:
        plain = parse_destination(text.rstrip("/"))
        # A slash at the end: the image keeps its own name behind the registry's.
        found = parse_destination(text.rstrip("/") + "/")
    except UsageError:
        raise refused from None
    # A word alone is a host for `ship`, and a registry here; what ends as a file does is none.
    if plain.kind not in (Kind.REGISTRY, Kind.HOST) or found.kind is not Kind.REGISTRY:
        raise refused
    return found


def explain(
    tag: str, text: str, argv: tuple[str, ...], arguments: argparse.Namespace, console: Console
) -> None:
    """Show what would be built, and how."""
    import shlex

    if arguments.json:
        console.json({"tag": tag, "dockerfile": text, "argv": list(argv)})
    else:
        console.lines([*text.splitlines(), "", shlex.join(argv)])
