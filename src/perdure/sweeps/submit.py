"""Sweeps submitted: the code snapshotted once, a folder that is there whole, a driver begun."""

from __future__ import annotations

import datetime as dt
import os
import random
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.errors import ConflictError, UsageError
from perdure.jobs import names as job_names
from perdure.jobs.launch import Draft, JobRequest, checked, drafted, write
from perdure.jobs.request import Decided
from perdure.jobs.workspace import Workspace, storing, submitting
from perdure.model.job import JobRecord
from perdure.model.report import Report, silent
from perdure.model.sweep import SEED, Axis, Search, arguments_of, job_name
from perdure.runtime import names
from perdure.runtime.generation import sync_folder
from perdure.sweeps.notation import mapping, require_listed, require_seeds
from perdure.sweeps.ownership import names_used
from perdure.sweeps.proposals import Computed
from perdure.sweeps.record import Sweep, folder_of, sweeps_folder, write_sweep
from perdure.sweeps.trials import trial_record
from perdure.targets.protocol import Target

#: So many trials are asked about before they are submitted.
ASKED_FROM = 100_000
_SCHEDULERS = ("slurm", "kubernetes")
_LONGEST_NAME = job_names.LONGEST - 9


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A sweep to be submitted. `job` says what its jobs have in common: task, target, limits.

    `passes` are variables of whoever starts the driver that its jobs get, and that are not
    recorded. No `max_running`: as many as the machine has processors, or as a scheduler starts.
    """

    job: JobRequest
    axes: tuple[Axis, ...]
    search: Search = field(default_factory=Search)
    name: str | None = None
    max_running: int | None = None
    passes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """A sweep that makes sense, before anything is made for it."""

    sweep: Sweep
    job: JobRequest
    known: tuple[Decided, Target] = field(repr=False)


def outline(workspace: Workspace, request: SweepRequest) -> Outline:
    """Return what would be submitted. Reads the disk, makes nothing.

    Raises:
        UsageError: no such task, an axis that is none for this search, a name that is none.
        EnvironmentFailed: the search needs a package that is not there.
        ConflictError: the name is taken.
        Others: as `perdure.jobs.launch.checked`.
    """
    project = workspace.project
    known = checked(workspace, request.job)
    if not request.axes and request.search.kind == "grid":
        raise UsageError(
            "a sweep has an axis at least", hint="perdure sweep TASK lr=1e-3,1e-4 seed=0..4"
        )
    if request.search.kind == "grid":
        require_listed(request.axes)
    elif not request.search.trials:
        raise UsageError("a search has a number of trials", hint="`trials = 100` in the file")
    if request.max_running is not None and request.max_running < 1:
        raise UsageError("`--max-running` is 1 or more", hint="--max-running 2")
    task = project.tasks.get(request.job.task)
    sweep = Sweep(
        name=_name(workspace, request.name),
        task=known[0].task,
        boxes=(mapping(request.axes),),
        search=request.search,
        max_running=request.max_running or _usual(workspace, request),
        submitted=dt.datetime.now(dt.UTC).isoformat(),
        axes_as="flags" if task is None else task.axes,
        seed_argument=task is not None and task.seed_argument,
        passes=request.passes,
    )
    _check_seeds(sweep)
    _check_search(sweep)
    return Outline(sweep, request.job, known)


def submit(workspace: Workspace, outlined: Outline, *, report: Report = silent) -> Path:
    """Return the folder of a sweep that is submitted, and not driven yet.

    Raises:
        ConflictError: the name is taken.
        Others: as `perdure.jobs.launch.submit`; nothing is left behind.
    """
    project = workspace.project
    sweep = outlined.sweep
    with storing("the sweep"), submitting(project):
        draft = drafted(workspace, outlined.job, outlined.known, report=report)
        _verify(draft, sweep, project.results)
        _try_results(project.results)
        sweeps_folder(project).mkdir(parents=True, exist_ok=True)
        aside = sweeps_folder(project) / f".tmp-{uuid.uuid4().hex}"
        final = folder_of(project, sweep.name)
        try:
            aside.mkdir()
            record = replace(draft.record, results=aside.parent, job=aside.name, sweep=sweep.name)
            write(workspace, draft.target, record, draft.source)
            (aside / names.OUTPUTS).rmdir()
            write_sweep(aside, sweep)
            _take_place(aside, final)
            sync_folder(final.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return final


def explained(workspace: Workspace, outlined: Outline, most: int) -> list[str]:
    """Return lines that say how many jobs there would be, and what the first `most` run.

    Reads the disk, makes nothing.
    """
    sweep = outlined.sweep
    plan = _handed_over(workspace, outlined)
    lines = [
        f"{sweep.count:,} jobs, {at_a_time(sweep)}, on {outlined.job.target}: "
        + ", ".join(f"{axis.name} ({_size(axis)})" for axis in sweep.axes),
        *plan.splitlines(),
    ]
    if sweep.search.kind == "optuna":
        return [*lines, "their values are proposed one after the other"]
    proposals = Computed(sweep)
    for trial in range(1, min(sweep.count, most) + 1):
        values = proposals.values(trial) or {}
        words = arguments_of(values, sweep.axes_as, seed_argument=sweep.seed_argument)
        becomes = f": {shlex.join(words)}" if words else ""
        lines.append(f"{job_name(sweep.name, trial)}  {told(values)}{becomes}")
    if sweep.count > most:
        lines.append(f"... {sweep.count - most:,} more")
    return lines


def _handed_over(workspace: Workspace, outlined: Outline) -> str:
    """Return what hands over the first trials: a job, or an array of Slurm's."""
    from perdure.jobs.launch import planned_record, without_seed
    from perdure.sweeps.pools import explained_array

    target, record = planned_record(workspace, outlined.job)
    found = explained_array(target, record, outlined.sweep, sweeps_folder(workspace.project))
    text = target.plan(record).text() if found is None else found
    return without_seed(text, outlined.job, record)


def at_a_time(sweep: Sweep) -> str:
    """Return in words how many of its jobs run at a time."""
    if not sweep.max_running:
        return "as many at a time as its scheduler starts"
    return f"{sweep.max_running} at a time"


def told(values: Mapping[str, str]) -> str:
    """Return a trial's values as they are told: `lr=1e-3 seed=0`."""
    return " ".join(f"{name}={value}" for name, value in values.items())


def _usual(workspace: Workspace, request: SweepRequest) -> int:
    """Return how many run at a time if nobody says; 0: a scheduler has a queue, and knows."""
    wanted = workspace.settings.targets.get(request.job.target)
    queues = wanted is not None and wanted.kind in _SCHEDULERS and request.search.kind != "optuna"
    return 0 if queues else os.cpu_count() or 1


def _size(axis: Axis) -> str:
    from perdure.model.sweep import Span

    return axis.text if isinstance(axis.values, Span) else str(len(axis.values))


def _name(workspace: Workspace, wanted: str | None) -> str:
    project = workspace.project
    if wanted is None:
        chance = random.SystemRandom()
        while True:
            pair = f"{chance.choice(job_names.ADJECTIVES)}-{chance.choice(job_names.NOUNS)}"
            if not _taken(workspace, pair):
                return pair
    job_names.check(wanted)
    if len(wanted) > _LONGEST_NAME:
        raise UsageError(
            f"`{wanted}` is too long for a sweep, whose jobs have numbers behind it",
            hint=f"up to {_LONGEST_NAME} letters",
        )
    if folder_of(project, wanted).exists():
        raise ConflictError(
            f"there is a sweep `{wanted}` already", hint=f"perdure sweep status {wanted}"
        )
    if _taken(workspace, wanted):
        raise ConflictError(
            f"there are jobs with names of a sweep `{wanted}` already: `{wanted}-...`",
            hint="take another --name",
        )
    return wanted


def _taken(workspace: Workspace, name: str) -> bool:
    project = workspace.project
    return folder_of(project, name).exists() or names_used(project.results, name)


def _check_seeds(sweep: Sweep) -> None:
    """Return if an axis `seed` has seeds.

    Raises:
        UsageError: it has something else.
    """
    for axis in sweep.axes:
        if axis.name == SEED:
            require_seeds(axis)


def _check_search(sweep: Sweep) -> None:
    """Return if whatever proposes the sweep's trials is there.

    Raises:
        EnvironmentFailed: the search needs a package that is not there.
        UsageError: its sampler does not take its options.
    """
    if sweep.search.kind == "optuna":
        from perdure.sweeps.tuner import require_search

        require_search(sweep)


def _verify(draft: Draft, sweep: Sweep, results: Path) -> None:
    """Return if the command of a trial is there, as far as can be seen."""
    record: JobRecord = trial_record(draft.record, sweep, results, 1, {})
    draft.target.verify(draft.target.plan(record))


def _try_results(results: Path) -> None:
    """Return if run folders can be made: whoever submits hears it, not only who asks for status.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storing("the jobs of a sweep"):
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=results):
            pass


def _take_place(aside: Path, final: Path) -> None:
    try:
        aside.rename(final)
    except OSError as error:
        if final.exists():
            raise ConflictError(
                f"there is a sweep `{final.name}` already",
                hint=f"perdure sweep status {final.name}",
            ) from error
        raise
