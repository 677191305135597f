"""`perdure tensorboard`: the metrics of all jobs as curves, live."""

from __future__ import annotations

import argparse

from perdure.cli.render import Console
from perdure.cli.serving import add_service_arguments, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `tensorboard` takes."""
    add_service_arguments(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once it is open, or stopped."""
    return serve("tensorboard", arguments, console)
