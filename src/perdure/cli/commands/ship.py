"""`perdure ship`: an image to another engine, a registry or a file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.render import Console
from perdure.cli.words import counted, size

if TYPE_CHECKING:
    from perdure.images.shipment import Shipment
    from perdure.model.settings import Settings

STAGES = ("runtime", "dev")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ship` takes."""
    parser.add_argument(
        "image",
        metavar="IMAGE",
        nargs="?",
        default=STAGES[0],
        help="`runtime` or `dev`: the project's own, built if need be; else a tag or an id",
    )
    parser.add_argument(
        "--to",
        metavar="WHERE",
        required=True,
        help="a target, HOST, a docker context, unix:// tcp:// ssh://, REGISTRY/NAME, FILE.tar "
        "or FILE.sqfs",
    )
    parser.add_argument("--variant", metavar="NAME", help="the project's variant: cpu or cuda")
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the image is there, and was verified there."""
    from perdure.hosts.engine import find_engine
    from perdure.images.ship import refuse_destination, ship
    from perdure.images.ship_destination import parse_destination

    destination = parse_destination(arguments.to)
    refuse_destination(destination)
    settings, reference = image_to_ship(arguments, console)
    engine = find_engine(settings)
    shipped = ship(engine, reference, destination, settings=settings, report=console)
    if arguments.json:
        console.json(as_json(shipped))
    else:
        console.say(told(shipped))
    return 0


def image_to_ship(arguments: argparse.Namespace, console: Console) -> tuple[Settings, str]:
    """Return the settings to work with, and the tag or id; a stage of the project is built.

    A tag needs no project around it.
    """
    from perdure.errors import UsageError
    from perdure.project.settings import load_settings

    if arguments.image not in STAGES:
        if arguments.variant:
            raise UsageError(
                f"`--variant` chooses between a project's images, and `{arguments.image}` is one",
                hint="perdure ship runtime --variant cuda --to WHERE",
            )
        return load_settings(root_of(Path.cwd())), arguments.image
    from perdure.images.build import ensure_image
    from perdure.jobs.workspace import open_workspace
    from perdure.model.image import Stage

    workspace = open_workspace(Path.cwd())
    image = ensure_image(
        workspace.project,
        workspace.settings,
        Stage(arguments.image),
        variant=arguments.variant,
        report=console,
    )
    return workspace.settings, image.tag


def root_of(folder: Path) -> Path | None:
    """Return the project's folder, None outside of any: a tag can be shipped from anywhere."""
    from perdure.errors import UsageError
    from perdure.project.find import find_project

    try:
        return find_project(folder)
    except UsageError:
        return None


def told(shipped: Shipment) -> str:
    """Return the line that says what moved and what did not have to."""
    moved = shipped.moved
    skipped = amount(moved.skipped_layers, moved.skipped_bytes)
    if not moved.sent_layers and not moved.sent_bytes:
        return f"nothing to ship: {shipped.destination} has {shipped.called} ({skipped})"
    line = f"shipped {shipped.image}"
    line += f" to {shipped.destination}: {amount(moved.sent_layers, moved.sent_bytes)}"
    if shipped.called not in (shipped.image, shipped.destination):
        line += f", as {shipped.called}"
    if moved.skipped_layers:
        line += f"; skipped {skipped} that it has"
    return line + (f"\n{shipped.called}@{shipped.digest}" if shipped.digest else "")


def amount(layers: int, count: int | None) -> str:
    """Return layers with their bytes, where those are known."""
    return counted(layers, "layer") + (f", {size(count)}" if count is not None else "")


def as_json(shipped: Shipment) -> dict[str, object]:
    """Return what went over, for a program."""
    moved = shipped.moved
    return {
        "image": shipped.image,
        "destination": os.fspath(shipped.destination),
        "called": shipped.called,
        "digest": shipped.digest,
        "sent": {"layers": moved.sent_layers, "bytes": moved.sent_bytes},
        "skipped": {"layers": moved.skipped_layers, "bytes": moved.skipped_bytes},
    }
