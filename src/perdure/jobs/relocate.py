"""A job that goes on somewhere else: between this machine and a bucket, with all that it has.

What it wrote, its newest checkpoint and its outputs go there first; only then is it said that it is
there. Whatever breaks off before leaves it where it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from perdure.errors import ConflictError, UsageError
from perdure.jobs import environment as environments
from perdure.jobs import folder as folders
from perdure.jobs import ledger, mirror
from perdure.jobs.elsewhere import target_in
from perdure.jobs.launch import clear_strays
from perdure.jobs.lifecycle import can_become, read_status
from perdure.jobs.witness import Witness, write_witness
from perdure.jobs.workspace import Workspace, storing
from perdure.model.job import EnvironmentUsed, JobRecord, State
from perdure.model.report import Report
from perdure.targets.cloud import Cloud
from perdure.targets.protocol import Handle, Target
from perdure.targets.registry import LOCAL, open_target


def relocate(workspace: Workspace, record: JobRecord, name: str, report: Report) -> JobRecord:
    """Return the record of a job that does not run, on the target of that name from now on.

    Nothing where it is there already. Touches disk and network.

    Raises:
        UsageError: there is no such target, or none that this job can go to.
        ConflictError: it is running, or has succeeded.
        EnvironmentFailed: the lock is another one than the job's.
        HostUnreachable, StorageError: the bucket does not answer, or refuses.
    """
    now = target_in(record.folder, workspace.project, record.target, workspace.settings)
    if name == now.name:
        return record
    where = open_target(name, workspace.project, workspace.settings)
    if not _is_between(now, where):
        raise UsageError(
            f"job `{record.job}` is on `{now.name}` and cannot go on on `{name}`",
            hint="jobs go between `local` and clouds; perdure rerun begins anew elsewhere",
        )
    where.require(record.resources)
    mirror.bring(record.folder)
    _require_rest(workspace, record)
    used = _environment_there(workspace, record, where, report)
    moved = replace(record, target=name, environment=used)
    report(f"bringing `{record.job}` from `{now.name}` to `{name}`")
    if isinstance(now, Cloud):
        _fetch(now, record.folder, report)
    if isinstance(where, Cloud):
        where.adopt(Handle(name, record.job, record.folder))
    with storing("the run folder"):
        if isinstance(where, Cloud):
            write_witness(record.folder, Witness(name, where.station))
        else:
            (record.folder / folders.WITNESS_FILE).unlink(missing_ok=True)
        folders.write_record(moved)
    ledger.forget(workspace, record.job)
    return moved


def _is_between(now: Target, where: Target) -> bool:
    kinds = [isinstance(each, Cloud) or each.name == LOCAL for each in (now, where)]
    return all(kinds)


def _require_rest(workspace: Workspace, record: JobRecord) -> None:
    status = read_status(record.folder)
    if folders.is_alive(record.folder):
        raise ConflictError(
            f"job `{record.job}` is already running", hint=f"perdure interrupt {record.job}"
        )
    if not can_become(status.state, State.STARTING):
        raise ConflictError(
            f"job `{record.job}` has {status.state.value.lower()} already",
            hint=f"perdure rerun {record.job}",
        )
    if status.state is State.LOST:
        clear_strays(workspace, record)


def _environment_there(
    workspace: Workspace, record: JobRecord, where: Target, report: Report
) -> EnvironmentUsed:
    """Return the job's environment as it is at another place: of the same lock."""
    used = record.environment
    if used.prefix is None:
        return used
    lock = workspace.project.root / "uv.lock"
    if not lock.is_file() or hashlib.sha256(lock.read_bytes()).hexdigest() != used.lock:
        raise UsageError(
            f"the lock has changed since `{record.job}` was submitted",
            hint=f"git checkout {record.code.commit}" if record.code.commit else "perdure run",
        )
    return environments.environment_for(workspace, used.variant, where.place, report)


def _fetch(now: Cloud, folder: Path, report: Report) -> None:
    """Bring what a bucket has of a job here, and have its group be no more."""
    handle = Handle(now.name, folder.name, folder)
    now.collect(handle)
    now.collect_checkpoint(handle, report)
    now.sweep(handle, ())
