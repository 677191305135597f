"""The pool for a target. Schedulers with arrays of their own come in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.jobs import elsewhere
from perdure.jobs.launch import prepared, target_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.sweeps.pool import Pool
from perdure.sweeps.record import Sweep
from perdure.targets.cluster import is_pods
from perdure.targets.protocol import Target
from perdure.targets.registry import LOCAL

if TYPE_CHECKING:
    from perdure.sweeps.hands import Hands
    from perdure.sweeps.outside import Outside
    from perdure.targets.remote import Remote

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
    if base.target == LOCAL:
        from perdure.sweeps.inside import Inside

        return Inside(workspace, base, passed), None
    target = target_of(workspace, base)
    hands = _hands(target, folder, base)
    if hands is not None:
        from perdure.sweeps.arrays import Arrays

        prepared(workspace, target, base, passed)
        mark = None if target.place.is_here else partial(elsewhere.mark, target)
        return Arrays(hands, folder, base, passed), mark
    pool = _elsewhere(workspace, target, folder, base, passed)
    return pool, pool.mark


def _elsewhere(
    workspace: Workspace, target: Target, folder: Path, base: JobRecord, passed: Mapping[str, str]
) -> Outside:
    """Return the pool of a target that supervises its jobs itself; may ask its cluster."""
    from perdure.sweeps.outside import Outside

    if not is_pods(target):
        return Outside(workspace, base, passed)
    from perdure.targets.kubernetes import Kubernetes
    from perdure.targets.kubernetes_array import LEAST, release_of

    assert isinstance(target, Kubernetes)  # it has pods
    release = release_of(target.kubectl.read("version"))
    # A server that does not know arrays starts one pod; and an element is one pod.
    if release < LEAST or base.resources.nodes > 1:
        return Outside(workspace, base, passed)
    from perdure.sweeps.indexed import Indexed

    return Indexed(workspace, target, folder, base, passed, release)


def _hands(target: Target, folder: Path, base: JobRecord) -> Hands | None:
    """Return the Slurm that a target is, None where it is none. May ask its host."""
    from perdure.targets.remote import Remote
    from perdure.targets.slurm import Slurm

    if isinstance(target, Slurm) or (isinstance(target, Remote) and _has_slurm(target)):
        from perdure.sweeps.arrays import FOLDER
        from perdure.sweeps.hands import Away, Here

        below = folder / FOLDER
        return Here(target, below) if isinstance(target, Slurm) else Away(target, base, below)
    return None


def _has_slurm(target: Remote) -> bool:
    from perdure.targets.far import SLURM

    return target.station.engine == SLURM


def explained_array(target: Target, record: JobRecord, sweep: Sweep, folder: Path) -> str | None:
    """Return how the first trials of a sweep are handed over as an array, None where they are not.

    `folder` is that of all sweeps. How large an array can be, only a submission asks.
    """
    from perdure.targets.remote import Remote
    from perdure.targets.slurm import Slurm

    if isinstance(target, Remote):
        if not _has_slurm(target):
            return None
    elif not isinstance(target, Slurm):
        return None
    from perdure.targets import slurm_array as arrays

    base = replace(record, sweep=sweep.name)
    jobs = dict.fromkeys(range(1, 1 + min(sweep.count, SHOWN)), base)
    log = arrays.log_pattern(sweep.name, 0, 10 * SHOWN)
    inner = folder / sweep.name / "arrays" / "ARRAY"
    order = arrays.Order(base, jobs, inner, log, sweep.max_running)
    if isinstance(target, Remote):
        return target.explained(order)
    return arrays.plan_array(target, order, record.results).text()
