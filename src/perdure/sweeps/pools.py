"""The pool for a target. Schedulers with arrays of their own come in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from perdure.jobs.launch import target_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.sweeps.pool import Pool
from perdure.sweeps.record import Sweep
from perdure.targets.protocol import Target
from perdure.targets.registry import LOCAL

#: More elements of one array are not explained.
SHOWN = 1000
Mark = Callable[[JobRecord], None]


def open_pool(
    workspace: Workspace, folder: Path, base: JobRecord, passed: Mapping[str, str]
) -> tuple[Pool, Mark | None]:
    """Return what runs a sweep's trials, and what marks a run folder before it is a job.

    `base` is the record that all trials have in common, `folder` the sweep's own. Makes code
    and environment ready.

    Raises:
        PerdureError: what its jobs need is gone, or their host is not reached.
    """
    from perdure.targets.slurm import Slurm

    if base.target == LOCAL:
        from perdure.sweeps.inside import Inside

        return Inside(workspace, base, passed), None
    target = target_of(workspace, base)
    if isinstance(target, Slurm):
        from perdure.sweeps.arrays import Arrays

        return Arrays(workspace, target, folder, base, passed), None
    from perdure.sweeps.outside import Outside

    pool = Outside(workspace, base, passed)
    return pool, pool.mark


def explained_array(target: Target, record: JobRecord, sweep: Sweep, folder: Path) -> str | None:
    """Return how the first trials of a sweep are handed over as an array, None where they are not.

    `folder` is that of all sweeps. Pure: how large an array can be, only a submission asks.
    """
    from perdure.targets.slurm import Slurm

    if not isinstance(target, Slurm):
        return None
    from perdure.targets import slurm_array as arrays

    base = replace(record, sweep=sweep.name)
    jobs = dict.fromkeys(range(1, 1 + min(sweep.count, SHOWN)), base)
    log = arrays.log_pattern(sweep.name, 0, 10 * SHOWN)
    inner = folder / sweep.name / "arrays" / "ARRAY"
    order = arrays.Order(base, jobs, inner, log, sweep.max_running)
    return arrays.plan_array(target, order, record.results).text()
