"""What the verbs that open a service have in common: `jupyter`, `tensorboard` and `files`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json, seconds
from perdure.cli.render import Console
from perdure.cli.resources import add_target
from perdure.cli.words import duration

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace
    from perdure.services.opening import Opened

IDLE = "2h"
LIFETIME = "24h"


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every verb takes that opens a service."""
    add_target(parser)
    parser.add_argument("--stop", action="store_true", help="end it, with all that it started")
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )
    parser.add_argument(
        "--port", type=port, default=0, metavar="N", help="the port of this machine to reach it on"
    )
    parser.add_argument(
        "--idle",
        type=seconds,
        default=seconds(IDLE),
        metavar="TIME",
        help=f"end it when nobody has used it for so long ({IDLE})",
    )
    parser.add_argument(
        "--lifetime",
        type=seconds,
        default=seconds(LIFETIME),
        metavar="TIME",
        help=f"end it after so long in any case ({LIFETIME})",
    )
    add_json(parser)


def port(text: str) -> int:
    """Return a port's number, one that needs no rights of root."""
    if text.isascii() and text.isdigit() and 1024 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"`{text}` is no port: a number from 1024 to 65535")


def serve(
    name: str,
    arguments: argparse.Namespace,
    console: Console,
    *,
    variant: str | None = None,
    gpus: str | None = None,
    writable: bool = False,
) -> int:
    """Return 0 once the service is open, or stopped."""
    from perdure.jobs.workspace import open_workspace
    from perdure.services.opening import Wanted, open_service, stop_service
    from perdure.services.program import Limits

    workspace = open_workspace(Path.cwd())
    if arguments.stop:
        stopped = stop_service(workspace, name, arguments.target)
        if arguments.json:
            console.json({"name": name, "target": arguments.target, "stopped": stopped})
        else:
            console.say(f"{name} is stopped" if stopped else f"{name} does not run")
        return 0
    limits = Limits(idle_s=arguments.idle, lifetime_s=arguments.lifetime)
    wanted = Wanted(name, arguments.target, arguments.port, limits, writable, variant, gpus)
    opened = open_service(workspace, wanted, console)
    tell(opened, workspace, arguments, console)
    return 0


def tell(
    opened: Opened, workspace: Workspace, arguments: argparse.Namespace, console: Console
) -> None:
    """Print a service's address, and open the browser on it unless that is not wanted."""
    if opened.taken:
        console.say(f"port {opened.taken} is in use: {opened.port} is taken")
    if arguments.json:
        console.json(as_json(opened))
    else:
        console.write(f"{opened.address}\n")
    if not opened.begun:
        console.say(f"{opened.name} runs already")
    elif hasattr(arguments, "idle"):
        ends = f"it ends after {duration(arguments.idle)} without use"
        console.say(f"{ends}, or: perdure services --stop {opened.name}")
    if not (arguments.no_browser or arguments.json):
        from perdure.services.browser import show

        if not show(opened.name, opened.address, workspace.project.state):
            console.say("no browser was found: open the address yourself")


def as_json(opened: Opened) -> dict[str, object]:
    """Return a service for a program, the address that lets in with it."""
    return {
        "name": opened.name,
        "target": opened.target,
        "port": opened.port,
        "address": opened.address,
        "started": opened.begun,
    }
