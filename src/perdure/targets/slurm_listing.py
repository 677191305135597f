"""The queue and the room of a cluster, as plain values for tables.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable
from typing import Any

from perdure.model.settings import SlurmSettings
from perdure.targets.slurm_capacity import Node, of_partition, read_nodes, require_partition
from perdure.targets.slurm_queue import ask, seconds_said

Values = dict[str, Any]

# Number, user, partition, state, reason, elapsed, limit, nodes, processors, GPUs, place, comment,
# and the name, which may hold anything, last.
_FORMAT = "--format=%i|%u|%P|%T|%r|%M|%l|%D|%C|%b|%N|%k|%j"
_CELLS = 13


def queue(settings: SlurmSettings) -> list[Values]:
    """Return the jobs of a target's partitions that wait or run, in Slurm's order. Asks Slurm.

    Raises:
        UsageError: there is no such partition.
        SchedulerUnreachable: Slurm does not answer.
    """
    require_partition(settings, read_nodes())
    words = ["squeue", "--noheader", "--sort=-t,-p,i", _FORMAT]
    if settings.partition is not None:
        words.append(f"--partition={settings.partition}")
    return parse_queue(ask(words), pwd.getpwuid(os.getuid()).pw_name)


def parse_queue(text: str, user: str) -> list[Values]:
    """Return the jobs in squeue's lines. Pure."""
    return [
        _job(cells, user)
        for line in text.splitlines()
        if len(cells := line.split("|", _CELLS - 1)) == _CELLS
    ]


def _job(cells: list[str], user: str) -> Values:
    number, who, partition, state, reason, elapsed, limit = cells[:7]
    nodes, cpus, gres, place, comment, name = cells[7:]
    return {
        "number": number,
        "user": who,
        "mine": who == user,
        # A job of perdure's is known by its own name, an array by its sweep's.
        "job": comment.split(":")[2] if re.match(r"perdure:[^:]*:[^:]", comment) else None,
        "name": name,
        "partition": partition,
        "state": state,
        "reason": "" if reason in ("None", "(null)") else reason.strip("()"),
        "elapsed_s": seconds_said(elapsed),
        "limit_s": seconds_said(limit),
        "nodes": int(nodes) if nodes.isdecimal() else 0,
        "cpus": int(cpus) if cpus.isdecimal() else 0,
        "gpus": "" if gres in ("N/A", "(null)") else gres,
        "place": place,
    }


def capacity(settings: SlurmSettings) -> list[Values]:
    """Return what each partition has, and what of it is free now; the target's only, if it has one.

    Raises:
        UsageError: there is no such partition.
        SchedulerUnreachable: Slurm does not answer.
    """
    nodes = read_nodes()
    require_partition(settings, nodes)
    mine = nodes if settings.partition is None else of_partition(settings, nodes)
    names = dict.fromkeys(node.partition for node in mine)
    return [_partition(name, [node for node in mine if node.partition == name]) for name in names]


def _partition(name: str, nodes: list[Node]) -> Values:
    up = [node for node in nodes if node.takes_jobs]
    return {
        "partition": name,
        "default": nodes[0].default,
        "limit_s": nodes[0].time_s,
        "nodes": len(nodes),
        "nodes_up": len(up),
        "nodes_idle": sum(node.state == "idle" for node in up),
        "gpus": sum(node.gpus for node in nodes),
        "gpus_free": sum(node.gpus_free for node in up),
        "gpus_free_on_one": _most(node.gpus_free for node in up),
        "cpus": sum(node.cpus for node in nodes),
        "cpus_free": sum(node.cpus_free for node in up),
        "cpus_free_on_one": _most(node.cpus_free for node in up),
        "memory_mib_on_one": _most(node.memory for node in nodes),
        "memory_mib_free_on_one": _most(node.memory_free for node in up),
    }


def _most(numbers: Iterable[int]) -> int:
    return max(numbers, default=0)


LISTS = {"queue": queue, "capacity": capacity}
