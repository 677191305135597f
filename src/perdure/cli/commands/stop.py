"""`perdure stop`: the development container, stopped; all that is in it stays."""

from __future__ import annotations

import argparse

from perdure.cli.arguments import seconds
from perdure.cli.developing import add_host, open_here
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `stop` takes."""
    add_host(parser)
    parser.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="TIME",
        help="how long what runs in it may take to save and end (30s)",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the container does not run."""
    from perdure.development.code import leave_code
    from perdure.development.lifecycle import stop
    from perdure.development.standing import State, look

    session = open_here(arguments.target)
    standing = look(session)
    leave_code(session)
    if standing.state in (State.ABSENT, State.STOPPED):
        console.say("it does not run")
        return 0
    stop(session, standing, report=console, grace_s=arguments.grace)
    console.say("stopped; `perdure up` goes on with it")
    return 0
