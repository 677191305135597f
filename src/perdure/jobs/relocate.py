"""A job that goes on somewhere else, with all that it has: here, on a host, in a bucket.

What it wrote, its newest checkpoint and its outputs go there first; only then is it said that it is
there. Whatever breaks off before leaves it where it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from perdure.errors import ConflictError, UsageError
from perdure.jobs import carrying, ledger, mirror
from perdure.jobs import environment as environments
from perdure.jobs import folder as folders
from perdure.jobs.elsewhere import target_in
from perdure.jobs.launch import clear_strays
from perdure.jobs.lifecycle import can_become, read_status
from perdure.jobs.witness import Witness, write_witness
from perdure.jobs.workspace import Workspace, storing
from perdure.model.job import EnvironmentUsed, JobRecord, State
from perdure.model.report import Report
from perdure.targets import far
from perdure.targets.cloud import Cloud
from perdure.targets.protocol import Handle, Target
from perdure.targets.registry import DOCKER, LOCAL, open_target
from perdure.targets.remote import Remote


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
    if not (_goes(now, record) and _goes(where, record)):
        own = LOCAL if record.environment.image is None else DOCKER
        raise UsageError(
            f"job `{record.job}` is on `{now.name}` and cannot go on on `{name}`",
            hint=f"it goes between `{own}`, hosts that ssh reaches and clouds; elsewhere "
            "perdure rerun begins anew",
        )
    where.require(record.resources)
    mirror.bring(record.folder)
    _require_rest(workspace, record)
    used = _environment_there(workspace, record, where, report)
    moved = replace(record, target=name, environment=used)
    report(f"bringing `{record.job}` from `{now.name}` to `{name}`")
    _fetch(now, record.folder, report)
    _send(where, record, report)
    with storing("the run folder"):
        if isinstance(where, Cloud | Remote):
            write_witness(record.folder, Witness(name, where.station))
        else:
            (record.folder / folders.WITNESS_FILE).unlink(missing_ok=True)
        folders.write_record(moved)
    ledger.forget(workspace, record.job)
    return moved


def _goes(target: Target, record: JobRecord) -> bool:
    """Return whether a job can leave a target, and get there: in an image it stays in one."""
    image = record.environment.image
    if isinstance(target, Remote):
        # The other engines are schedulers: what they know of a job cannot be carried along.
        return target.station.engine == (far.PROCESS if image is None else far.DOCKER)
    return isinstance(target, Cloud) or target.name == (LOCAL if image is None else DOCKER)


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


def _fetch(now: Target, folder: Path, report: Report) -> None:
    """Bring what is elsewhere of a job here; a group of a cloud's is no more then."""
    if isinstance(now, Remote):
        carrying.fetch(now.place, folder)
    if isinstance(now, Cloud):
        handle = Handle(now.name, folder.name, folder)
        now.collect(handle)
        now.collect_checkpoint(handle, report)
        now.sweep(handle, ())


def _send(where: Target, record: JobRecord, report: Report) -> None:
    """Bring what is here of a job to where it is to go on."""
    if isinstance(where, Remote):
        carrying.send(where.place, record, report)
    if isinstance(where, Cloud):
        where.adopt(Handle(where.name, record.job, record.folder))
