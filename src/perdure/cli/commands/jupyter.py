"""`perdure jupyter`: JupyterLab on a target, with a kernel in the project's environment."""

from __future__ import annotations

import argparse

from perdure.cli.commands.up import gpus
from perdure.cli.render import Console
from perdure.cli.serving import add_service_arguments, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `jupyter` takes."""
    add_service_arguments(parser)
    parser.add_argument("--variant", metavar="NAME", help="the project's variant: cpu or cuda")
    parser.add_argument(
        "--gpus", type=gpus, metavar="all|N", help="hand GPUs to it, in a container or on a cluster"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once it is open, or stopped."""
    return serve("jupyter", arguments, console, variant=arguments.variant, gpus=arguments.gpus)
