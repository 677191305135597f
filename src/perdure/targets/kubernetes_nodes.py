"""A training on several nodes of a cluster: a Job for each of them, the first with the supervisor.

Torchrun runs in every pod, started by `perdure.runtime.gang`: the pods meet by what the first one
writes into the run folder, so that neither a Service nor the cluster's names have to lead to it.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perdure.model.job import Resources
from perdure.runtime.gang import FOLLOW, LEAD
from perdure.targets.kubernetes_manifest import Turn
from perdure.targets.slurm_nodes import ranks


def led(
    program: Sequence[str], run_dir: str, after: int, command: Sequence[str], resources: Resources
) -> tuple[str, ...]:
    """Return what the first node's supervisor runs: the command itself, where there is only one.

    `program` is the supervisor, without its options.
    """
    if resources.nodes == 1:
        return tuple(command)
    numbers = (resources.nodes, ranks(resources), after)
    return (*program, LEAD, run_dir, *map(str, numbers), "--", *command)


def turns(first: Turn, program: Sequence[str], run_dir: str) -> list[Turn]:
    """Return what each of a job's nodes runs: those that follow come first, then the first one.

    So what can be refused is refused before anything leads.
    """
    others = [
        replace(first, part=part, command=(*program, FOLLOW, run_dir, str(part), str(first.after)))
        for part in range(1, first.job.resources.nodes)
    ]
    return [*others, first]
