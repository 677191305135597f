"""The development container ready to be used: what `up` and `shell` have in common."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.render import Console
from perdure.errors import EnvironmentFailed

if TYPE_CHECKING:
    from perdure.development.change import Change, Wanted
    from perdure.development.standing import Session, Standing
    from perdure.development.wishes import Wishes


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add on which host the container is."""
    parser.add_argument(
        "--on",
        dest="target",
        metavar="TARGET",
        help="the host of the container: docker for this machine, or one of `perdure targets` "
        "(where it was brought up last)",
    )


def open_here(on: str | None = None) -> Session:
    """Return the session of the project that this process stands in, on the host that is meant."""
    from perdure.development.standing import open_session
    from perdure.development.whereabouts import chosen_host
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    return open_session(workspace, chosen_host(workspace, on))


def bring_up(session: Session, wishes: Wishes | None, console: Console, *, yes: bool) -> bool:
    """Return whether anything had to be done for the container to run; it runs then.

    `wishes` are None where those it was made with are to stay. A container that is there is
    replaced only after `yes`, on the command line or to the question.
    """
    from perdure.development.change import change_between
    from perdure.development.code import keep_code
    from perdure.development.elsewhere import refuse_unfit
    from perdure.development.lifecycle import make, start, wanted_now
    from perdure.development.standing import State, look
    from perdure.development.whereabouts import remember_host

    if wishes is not None:
        refuse_unfit(wishes, session.place)
    standing = look(session)
    keep_code(session, console)
    remember_host(session.workspace, session.host_name)
    chosen = standing.wishes if wishes is None else wishes
    if standing.state is State.ABSENT:
        make(session, chosen, standing, report=console)
        return True
    wanted = wanted_now(session, chosen, report=console)
    change = change_between(standing, wanted)
    if change is not None and is_to_be_replaced(
        session, standing, wanted, change, console, yes=yes
    ):
        make(session, chosen, standing, report=console)
        return True
    start(session, standing, report=console)
    return standing.state is not State.RUNNING


def keep_up(session: Session, console: Console, *, yes: bool) -> None:
    """Have the container run, as it is if what it should be like cannot be known."""
    from perdure.development.lifecycle import start
    from perdure.development.standing import State, look

    try:
        bring_up(session, None, console, yes=yes)
    except EnvironmentFailed as error:
        standing = look(session)
        if standing.state is State.ABSENT:
            raise
        hint = f" ({error.hint})" if error.hint else ""
        console.say(f"warning: {error.message}{hint}; the container is used as it is")
        start(session, standing, report=console)


def is_to_be_replaced(
    session: Session,
    standing: Standing,
    wanted: Wanted,
    change: Change,
    console: Console,
    *,
    yes: bool,
) -> bool:
    """Return whether the user wants the container replaced, after telling why it should be."""
    from perdure.development.change import question
    from perdure.development.standing import installed_by_hand, running_inside

    console.say("\n  ".join([change.summary, *change.details]))
    if yes:
        return True
    if not console.can_ask:
        console.say("warning: going on with the container as it is; `perdure up --yes` replaces it")
        return False
    # The engine compares the container with its image: seconds.
    console("looking at what is in the container")
    leftovers = installed_by_hand(session).beside(wanted.contents)
    if leftovers:
        console.say("`perdure freeze` writes what was installed by hand into the declarations")
    asked = question(standing, running_inside(session), leftovers)
    return console.confirm(asked, unasked=shlex.join(["perdure", "up", "--yes"]))


def has_terminal() -> bool:
    """Return whether a person types and reads: a command in a container gets a terminal then."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
