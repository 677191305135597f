"""`perdure shell`: a shell, or one command, in the development container."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_yes
from perdure.cli.developing import add_host, has_terminal, keep_up, open_here
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `shell` takes; what follows `--` is the command's."""
    add_host(parser)
    parser.add_argument(
        "--root", action="store_true", help="as root, for `apt-get install`; use it for that only"
    )
    add_yes(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return the exit code of the shell or command; the container is brought up before it."""
    from perdure.development.lifecycle import Entry, enter

    session = open_here(arguments.target)
    keep_up(session, console, yes=arguments.yes)
    console.close()
    entry = Entry(arguments.rest, Path.cwd(), root=arguments.root, terminal=has_terminal())
    return enter(session, entry)
