"""`perdure cloud setup` and `teardown`: what a provider needs once, before the first job."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_yes
from perdure.cli.clouds import open_cloud_named
from perdure.cli.render import Console

if TYPE_CHECKING:
    from perdure.targets.cloud import Cloud

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
    if arguments.explain:
        console.lines(explained(cloud, arguments.what).splitlines())
        return 0
    question = {
        SETUP: f"make the bucket and the role for `{cloud.name}`?",
        TEARDOWN: f"delete the role of `{cloud.name}`'s machines? (the bucket stays)",
    }[arguments.what]
    unasked = f"perdure cloud {arguments.what} {cloud.name} --yes"
    if not (arguments.yes or console.confirm(question, unasked=unasked)):
        return 0
    from perdure.clouds import aws_setup

    act = aws_setup.set_up if arguments.what == SETUP else aws_setup.tear_down
    for done in act(cloud.account, cloud.wanted):
        console.say(done)
    return 0


def explained(cloud: Cloud, what: str) -> str:
    """Return the calls as the provider's own tool takes them, and what a person may need."""
    from perdure.clouds import aws_iam, aws_requests, aws_setup
    from perdure.moving.address import parse_address

    calls = aws_setup.setup_calls if what == SETUP else aws_setup.teardown_calls
    lines = [aws_requests.words(*call) for call in calls(cloud.wanted)]
    if what == SETUP:
        policy = aws_iam.person_policy(parse_address(cloud.wanted.bucket), cloud.wanted.profile)
        lines += [
            "",
            "# what whoever submits jobs has to be allowed:",
            json.dumps(policy, indent=1),
        ]
    return "\n".join(lines)
