"""`perdure push`: code, data, notebooks and results, to a host or a bucket."""

from __future__ import annotations

import argparse

from perdure.cli.moving import add_moving, move
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `push` takes."""
    add_moving(parser, "push")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once all is there."""
    return move(arguments, console, pushing=True)
