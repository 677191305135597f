"""`perdure pull`: code, data, notebooks and results, from a host or a bucket."""

from __future__ import annotations

import argparse

from perdure.cli.moving import add_moving, move
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `pull` takes."""
    add_moving(parser, "pull")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once all is here."""
    return move(arguments, console, pushing=False)
