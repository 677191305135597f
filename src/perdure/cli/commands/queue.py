"""`perdure queue`: what waits and runs on a cluster."""

from __future__ import annotations

import argparse

from perdure.cli.clusters import add_cluster
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `queue` takes."""
    add_cluster(parser)
    parser.add_argument("--mine", action="store_true", help="only your own jobs")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after listing the queue."""
    from perdure.cli.clusters import open_cluster, queue_table
    from perdure.targets.cluster import queue_of

    jobs = queue_of(open_cluster(arguments.target))
    if arguments.mine:
        jobs = [job for job in jobs if job["mine"]]
    if arguments.json:
        console.json(jobs)
    elif jobs:
        console.table(queue_table(jobs))
    else:
        console.say("the queue is empty")
    return 0
