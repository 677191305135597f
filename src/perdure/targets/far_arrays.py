"""What a sweep asks of the arrays of another host's Slurm: see `far` for what `there` is.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from perdure.model.job_values import job_of
from perdure.targets import far, slurm_hands
from perdure.targets import slurm_array as arrays
from perdure.targets.protocol import Notice
from perdure.targets.slurm import Slurm

Values = dict[str, Any]


def size() -> int:
    """Return how many jobs an array can have there."""
    return arrays.block_size()


def plan(there: Values, order: Values, commands: dict[str, str]) -> str:
    """Return what would hand an array over, as a shell would take it. Pure."""
    made = _order(order)
    results = next(iter(made.jobs.values())).results
    return arrays.plan_array(_slurm(there, commands), made, results).text()


def hand_over(there: Values, order: Values, commands: dict[str, str]) -> bool:
    """Return whether an array was handed over: not where the supervisor's sources are missing."""
    target = _slurm(there, commands)
    if not target.main.is_file():
        return False
    arrays.submit_array(target, _order(order))
    return True


def held(run_dirs: Sequence[str], below: str) -> dict[str, list[str]]:
    """Return the jobs that Slurm has of those run folders: see `slurm_hands`."""
    return slurm_hands.held(run_dirs, below)


def over(asked: slurm_hands.Elements) -> list[tuple[str, list[int]]]:
    """Return which of the elements' jobs have come to rest: see `slurm_hands`."""
    return slurm_hands.over(asked)


def throttle(folders: Sequence[str], most_running: int) -> None:
    """Have arrays run so many elements at a time from now on: see `slurm_hands`."""
    slurm_hands.throttle(folders, most_running)


def notify(there: Values, asked: slurm_hands.Elements, reason: str, left_s: float | None) -> None:
    """Pass a notice on to all that run. The deadline is by the host's own clock."""
    deadline = None if left_s is None else time.time() + left_s
    slurm_hands.notify(_slurm(there, {}), asked, Notice(reason, deadline))


def order_values(order: arrays.Order, base: Values, folder: str, results: str) -> Values:
    """Return an order as values: `base`, and the folders as they are there. Pure."""
    fixed = len(order.base.arguments)
    jobs = [
        [index, job.job, job.seed, list(job.arguments[fixed:])] for index, job in order.jobs.items()
    ]
    known = {"folder": folder, "log": order.log, "most_running": order.most_running}
    return {**known, "base": base, "results": results, "jobs": jobs}


def _order(values: Values) -> arrays.Order:
    base = job_of(values["base"])
    results = Path(values["results"])
    jobs = {
        int(index): replace(
            base, results=results, job=job, seed=seed, arguments=(*base.arguments, *own)
        )
        for index, job, seed, own in values["jobs"]
    }
    folder = Path(values["folder"])
    return arrays.Order(base, jobs, folder, values["log"], values["most_running"])


def _slurm(there: Values, commands: dict[str, str]) -> Slurm:
    return cast(Slurm, far.open_there(there, commands))
