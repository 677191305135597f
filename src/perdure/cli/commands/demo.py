"""`perdure demo`: a training interrupted, resumed, killed, resumed again, and compared."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.render import Console
from perdure.cli.resources import add_target
from perdure.cli.signals import as_ctrl_c


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `demo` takes."""
    parser.add_argument(
        "folder", metavar="DIR", nargs="?", default="perdure-demo", help="where to make the project"
    )
    add_target(parser, "--on", "--in")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 if the interrupted training came to what the uninterrupted one came to."""
    from perdure.drill.demo import run_demo

    with as_ctrl_c():
        run_demo(
            Path(arguments.folder),
            target=arguments.target,
            report=console,
            tell=lambda line: console.lines([line]),
        )
    return 0
