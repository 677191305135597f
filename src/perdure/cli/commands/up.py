"""`perdure up`: the project's development container, made and started."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_yes
from perdure.cli.developing import add_host, bring_up, open_here
from perdure.cli.render import Console

if TYPE_CHECKING:
    from perdure.development.wishes import Wishes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `up` takes."""
    add_host(parser)
    parser.add_argument("--variant", help="the environment's variant, such as cpu or cuda")
    parser.add_argument("--gpus", type=gpus, metavar="all|N", help="hand GPUs to the container")
    parser.add_argument(
        "--ssh-agent", action="store_true", help="pass your ssh agent on (its keys stay in it)"
    )
    parser.add_argument(
        "--git", action="store_true", help="pass your git configuration on, to be read only"
    )
    parser.add_argument(
        "--mirrors",
        action="store_true",
        help="hand this machine's package indexes, proxies and certificates over, as files",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY[=VALUE]",
        help="a variable; KEY alone passes yours on, and is how to pass a token",
    )
    add_yes(parser)


def gpus(text: str) -> str:
    """Return `all`, or a number of 1 or more, as it was written."""
    if text == "all" or (text.isascii() and text.isdigit() and 0 < int(text) < 1000):
        return text
    raise argparse.ArgumentTypeError(f"`{text}` is neither `all` nor a number of GPUs")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the container runs."""
    session = open_here(arguments.target)
    done = bring_up(session, wishes_of(arguments), console, yes=arguments.yes)
    where = f" on `{session.host_name}`" if session.host_name else ""
    console.say(f"it is up{where}{'' if done else ' already'}: `perdure shell`")
    return 0


def wishes_of(arguments: argparse.Namespace) -> Wishes | None:
    """Return what is asked for; None where nothing is, and what the container has is to stay."""
    from perdure.development.wishes import NONE, Wishes

    wishes = Wishes(
        variant=arguments.variant,
        gpus=arguments.gpus,
        ssh_agent=arguments.ssh_agent,
        git=arguments.git,
        variables=tuple(arguments.env),
        mirrors=arguments.mirrors,
    )
    return None if wishes == NONE else wishes
