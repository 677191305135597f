"""`perdure clean results`: delete run folders that are done with."""

from __future__ import annotations

import argparse

from perdure.cli.arguments import JOB_HELP, add_yes, seconds
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `clean` takes."""
    parser.add_argument("what", choices=("results",), help="what to clean")
    parser.add_argument(
        "jobs", metavar="JOB", nargs="*", help=f"{JOB_HELP}; all that ended if none"
    )
    parser.add_argument(
        "--older-than", type=seconds, metavar="TIME", help="only jobs that ended so long ago"
    )
    add_yes(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0."""
    raise NotImplementedError
