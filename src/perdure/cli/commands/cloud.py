"""`perdure cloud setup` and `teardown`: what a provider needs once, before the first job."""

from __future__ import annotations

import argparse

from perdure.cli.arguments import add_yes
from perdure.cli.clouds import open_cloud_named
from perdure.cli.render import Console

SETUP, TEARDOWN = "setup", "teardown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `cloud` takes."""
    parser.add_argument("what", choices=(SETUP, TEARDOWN), help="make it, or undo that")
    parser.add_argument("target", metavar="TARGET", help="a target of a cloud")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="print the calls and the least set of permissions, and make nothing",
    )
    add_yes(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once bucket, role and profile are there, or are gone, or the user said no."""
    cloud = open_cloud_named(arguments.target)
    needed = cloud.provider.preparation()
    if arguments.explain:
        text = needed.setup_text() if arguments.what == SETUP else needed.teardown_text()
        console.lines(text.splitlines())
        return 0
    networks = ", ".join(cloud.provider.wanted.opened_to)
    opening = f", and open a port for {networks}" if networks else ""
    question = {
        SETUP: f"make the bucket and the role for `{cloud.name}`{opening}?",
        TEARDOWN: f"take from `{cloud.name}`'s machines what they may do? (the bucket stays)",
    }[arguments.what]
    unasked = f"perdure cloud {arguments.what} {cloud.name} --yes"
    if not (arguments.yes or console.confirm(question, unasked=unasked)):
        return 0
    act = needed.set_up if arguments.what == SETUP else needed.tear_down
    for done in act():
        console.say(done)
    return 0
