"""Clusters as tables. Reads no disk, asks nobody."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.cli.arguments import add_json
from perdure.cli.table import Column, Table, make_table
from perdure.cli.words import duration, size

if TYPE_CHECKING:
    from perdure.targets.protocol import Target

MIB = 2**20
NOTHING = "-"
QUEUE = (
    Column("NUMBER"),
    Column("JOB"),
    Column("USER", give_way=2),
    Column("PARTITION", give_way=3),
    Column("STATE"),
    Column("ELAPSED", right=True, give_way=1),
    Column("LIMIT", right=True, give_way=4),
    Column("CPUS", right=True, give_way=6),
    Column("GPUS", give_way=5),
    Column("WHERE", give_way=7),
)
CAPACITY = (
    Column("PARTITION"),
    Column("LIMIT", right=True, give_way=4),
    Column("NODES", right=True),
    Column("IDLE", right=True, give_way=3),
    Column("GPUS FREE", right=True),
    Column("ON ONE", right=True, give_way=1),
    Column("CPUS FREE", right=True),
    Column("ON ONE", right=True, give_way=2),
    Column("MEMORY FREE ON ONE", right=True, give_way=2),
)


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add which cluster is meant, and `--json`."""
    parser.add_argument(
        "--on",
        dest="target",
        required=True,
        metavar="TARGET",
        help="the cluster, by its name in `perdure targets`",
    )
    add_json(parser)


def open_cluster(name: str) -> Target:
    """Return the target of that name. Reads the project and the settings.

    Raises:
        UsageError: there is none.
    """
    from perdure.jobs.workspace import open_workspace
    from perdure.targets.registry import open_target

    workspace = open_workspace(Path.cwd())
    return open_target(name, workspace.project, workspace.settings)


def queue_table(jobs: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each job of a queue."""
    return make_table(QUEUE, [_queued(job) for job in jobs])


def capacity_table(partitions: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each partition; the default one has a star."""
    return make_table(CAPACITY, [_partition(each) for each in partitions])


def _queued(job: Mapping[str, Any]) -> tuple[str, ...]:
    reason = f" ({job['reason']})" if job["reason"] else ""
    return (
        job["number"],
        job["job"] or job["name"],
        job["user"],
        job["partition"],
        f"{job['state']}{reason}",
        _time(job["elapsed_s"]),
        _time(job["limit_s"]),
        str(job["cpus"]),
        job["gpus"] or NOTHING,
        job["place"] or NOTHING,
    )


def _partition(each: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        each["partition"] + ("*" if each["default"] else ""),
        _time(each["limit_s"]),
        f"{each['nodes_up']} of {each['nodes']}",
        str(each["nodes_idle"]),
        f"{each['gpus_free']} of {each['gpus']}",
        str(each["gpus_free_on_one"]),
        f"{each['cpus_free']} of {each['cpus']}",
        str(each["cpus_free_on_one"]),
        size(each["memory_mib_free_on_one"] * MIB),
    )


def _time(seconds: float | None) -> str:
    return NOTHING if seconds is None else duration(seconds)
