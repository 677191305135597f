"""`perdure reap`: find and end what is left over in a cloud."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from perdure.cli.arguments import add_json, add_yes
from perdure.cli.clouds import add_cloud, open_cloud_named
from perdure.cli.render import Console
from perdure.cli.table import Column, make_table
from perdure.cli.words import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `reap` takes."""
    add_cloud(parser)
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="tell what is left over, and end nothing"
    )
    add_yes(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once nothing is left over, or the user said no."""
    cloud = open_cloud_named(arguments.target)
    found = cloud.leftovers()
    if arguments.json:
        console.json([asdict(each) for each in found])
    elif found:
        rows = [(each.kind, each.name, each.job) for each in found]
        console.table(make_table((Column("KIND"), Column("NAME"), Column("JOB")), rows))
    else:
        console.say(f"nothing is left over on `{cloud.name}`")
    if not found or arguments.dry_run:
        return 0
    question = f"end and delete {counted(len(found), 'thing')} that no job wants?"
    unasked = f"perdure reap --on {cloud.name} --yes"
    if arguments.yes or console.confirm(question, unasked=unasked):
        cloud.end_leftovers(found)
        console.say(f"ended {counted(len(found), 'thing')}")
    return 0
