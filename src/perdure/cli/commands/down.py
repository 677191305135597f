"""`perdure down`: the development container, removed."""

from __future__ import annotations

import argparse

from perdure.cli.arguments import add_yes
from perdure.cli.developing import add_host, open_here
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `down` takes."""
    add_host(parser)
    add_yes(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once there is no container, or the user said no."""
    from perdure.development.code import leave_code
    from perdure.development.lifecycle import remove
    from perdure.development.standing import State, installed_by_hand, look
    from perdure.development.whereabouts import remember_host

    session = open_here(arguments.target)
    standing = look(session)
    if standing.state is State.ABSENT:
        console.say("there is no development container")
        return 0
    console("looking at what is in the container")
    leftovers = installed_by_hand(session)
    if leftovers and not arguments.yes:
        console.say("`perdure freeze` writes what was installed by hand into the declarations")
        asked = f"remove the container with what was installed by hand ({leftovers.told()})?"
        if not console.confirm(asked, unasked="`perdure freeze` first, or `perdure down --yes`"):
            return 0
    leave_code(session)
    remove(session, standing, report=console)
    remember_host(session.workspace, None)
    console.say("removed; the code, the data, the results and the container's home stay")
    return 0
