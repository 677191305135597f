"""`perdure why`: what differs between two jobs."""

from __future__ import annotations

import argparse

from perdure.cli.arguments import JOB_HELP, add_json
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `why` takes."""
    parser.add_argument("job", metavar="A", help=JOB_HELP)
    parser.add_argument("jobs", metavar="B", help="the job to compare it with")
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0."""
    raise NotImplementedError
