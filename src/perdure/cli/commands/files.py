"""`perdure files`: results and data of a target in the browser."""

from __future__ import annotations

import argparse

from perdure.cli.render import Console
from perdure.cli.serving import add_service_arguments, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `files` takes."""
    add_service_arguments(parser)
    parser.add_argument(
        "--write", action="store_true", help="let the browser change results as well"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once it is open, or stopped."""
    return serve("files", arguments, console, writable=arguments.write)
