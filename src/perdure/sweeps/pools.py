"""The pool for a target. Schedulers with arrays of their own come in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from perdure.jobs.launch import target_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.sweeps.pool import Pool
from perdure.targets.registry import LOCAL

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
