"""`perdure capacity`: what a cluster has, and what of it is free."""

from __future__ import annotations

import argparse

from perdure.cli.clusters import add_cluster
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `capacity` takes."""
    add_cluster(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after telling what there is."""
    from perdure.cli.clusters import capacity_table, open_cluster
    from perdure.targets.cluster import capacity_of

    partitions = capacity_of(open_cluster(arguments.target))
    if arguments.json:
        console.json(partitions)
    else:
        console.table(capacity_table(partitions))
    return 0
