"""A job that goes on somewhere else, with all that it has: here, on a host, a cluster, in a bucket.

What it wrote, its newest checkpoint and its outputs go there first; only then is it said that it is
there. Whatever breaks off before leaves it where it was. A scheduler that has it is asked whether
it has it no more: there are never two who write.
"""

from __future__ import annotations

import contextlib
import hashlib
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from perdure.errors import ConflictError, SchedulerUnreachable, UsageError
from perdure.jobs import carrying, custody, ledger, mirror
from perdure.jobs import environment as environments
from perdure.jobs import folder as folders
from perdure.jobs import image as images
from perdure.jobs.elsewhere import target_in
from perdure.jobs.launch import require_unfinished
from perdure.jobs.witness import Witness, write_witness
from perdure.jobs.workspace import Workspace, storing
from perdure.model.job import UNLIMITED, EnvironmentUsed, JobRecord, Resources
from perdure.model.report import Report
from perdure.targets import presence
from perdure.targets.cloud import Cloud
from perdure.targets.cluster import leave, registry_of
from perdure.targets.protocol import Handle, Target
from perdure.targets.registry import DOCKER, LOCAL, open_target
from perdure.targets.remote import Remote


def relocate(
    workspace: Workspace,
    record: JobRecord,
    name: str,
    report: Report,
    resources: Resources | None = None,
) -> JobRecord:
    """Return the record of a job that does not run, on the target of that name from now on.

    Nothing where it is there already. `resources` are what it has there, None: as it had. Touches
    disk and network.

    Raises:
        UsageError: there is no such target, or none that this job can go to.
        ConflictError: it is running or waits to, or has succeeded; somebody starts or moves it.
        EnvironmentFailed: its environment or image is another one by now, or cannot be had there.
        HostUnreachable, SchedulerUnreachable, StorageError: who has it, or is to have it, does not
            answer, or refuses.
    """
    now = target_in(record.folder, workspace.project, record.target, workspace.settings)
    if name == now.name:
        return _already(workspace, now, record, resources, report)
    where = open_target(name, workspace.project, workspace.settings)
    _require_alike(now, where, record)
    wanted = replace(record, resources=record.resources if resources is None else resources)
    _require_resources(where, wanted, anew=resources is not None)
    with custody.alone(record.folder):
        mirror.bring(record.folder)
        _require_rest(workspace, record)
        leave(now, Handle(now.name, record.job, record.folder))
        with _held(now, record):
            where = _with_image(workspace, where, record, report)
            used = _environment_there(workspace, record, where, report)
            moved = replace(wanted, target=name, environment=used)
            _move(now, where, record, moved, report)
    ledger.forget(workspace, record.job)
    return moved


def _already(
    workspace: Workspace,
    now: Target,
    record: JobRecord,
    resources: Resources | None,
    report: Report,
) -> JobRecord:
    """Return the record of a job that is there already; that of one that just came is made whole.

    A crash may have come between the word of where it is and its record.
    """
    if record.target == now.name:
        _require_no_resources(record, resources)
        return record
    wanted = replace(record, resources=record.resources if resources is None else resources)
    _require_resources(now, wanted, anew=resources is not None)
    with custody.alone(record.folder):
        used = _environment_there(workspace, record, now, report)
        moved = replace(wanted, target=now.name, environment=used)
        with storing("the run folder"):
            folders.write_record(moved)
    ledger.forget(workspace, record.job)
    return moved


def _held(now: Target, record: JobRecord) -> AbstractContextManager[None]:
    """Keep a supervisor of this machine from starting a job meanwhile; elsewhere one looks again.

    Raises:
        ConflictError: one lives.
    """
    if isinstance(now, Cloud | Remote):
        return contextlib.nullcontext()
    return presence.held(record.folder)


def _move(now: Target, where: Target, record: JobRecord, moved: JobRecord, report: Report) -> None:
    """Bring a job that nobody has from one target to another; then it is said that it is there."""
    claimed = folders.claimed(record.folder)
    apart = not _are_one(now, where)
    if apart:
        report(f"bringing `{record.job}` from `{now.name}` to `{where.name}`")
        _fetch(now, record.folder, report)
        _send(where, record, report)
    _release(now, record, claimed)
    with storing("the run folder"):
        _settle(where, moved)
    if apart and isinstance(now, Remote):
        carrying.remove(now.place, record.folder, report)


def _are_one(now: Target, where: Target) -> bool:
    """Return whether two targets have their run folders in one place. Asks hosts."""
    if isinstance(now, Cloud) or isinstance(where, Cloud):
        return False
    return carrying.are_one(now.place, where.place)


def _release(now: Target, record: JobRecord, claimed: int) -> None:
    """Have a target have a job no more, if nobody has gone on with it there since `claimed`.

    Raises:
        ConflictError: somebody has.
    """
    if isinstance(now, Cloud):
        mirror.bring(record.folder)
        _require_quiet(record)
        if folders.claimed(record.folder) != claimed:
            raise ConflictError(f"job `{record.job}` has run meanwhile", hint="try again")
        return
    # A container that its engine would start again is removed with it.
    now.sweep(Handle(now.name, record.job, record.folder), folders.read_history(record.folder))
    if isinstance(now, Remote):
        carrying.release(now.place, record.folder, claimed)


def _require_alike(now: Target, where: Target, record: JobRecord) -> None:
    """Return if a job can get there: one in an image stays in one. May ask the hosts."""
    if record.code.snapshot is None and isinstance(where, Cloud | Remote):
        raise UsageError(
            f"job `{record.job}` runs the working tree (`--live`), which is not on `{where.name}`",
            hint=f"perdure run --on {where.name}: a snapshot is sent there",
        )
    in_image = record.environment.image is not None
    # A cloud runs either.
    if isinstance(where, Cloud) or where.in_image == in_image:
        return
    kinds = ("an installed environment", "an image")
    own = DOCKER if in_image else LOCAL
    raise UsageError(
        f"job `{record.job}` is on `{now.name}` and cannot go on on `{where.name}`: it runs in "
        f"{kinds[in_image]}, and jobs there in {kinds[not in_image]}",
        hint=f"`{own}` and its like take it; perdure run --on {where.name} begins anew",
    )


def _require_no_resources(record: JobRecord, resources: Resources | None) -> None:
    if resources is not None:
        raise UsageError(
            f"job `{record.job}` is on `{record.target}` already, with what it may use there",
            hint="--gpus and the like are for where it is not yet",
        )


def _require_resources(where: Target, record: JobRecord, *, anew: bool) -> None:
    """Return if a target has what a job is to have there. Asks it."""
    try:
        where.require(record.resources, record.limits.grace_s)
    except UsageError as error:
        if anew or record.resources == UNLIMITED:
            raise
        again = f"perdure resume {record.job} --on {where.name} --gpus N"
        hint = f"say anew what it may use there: {again} (0: nothing of the kind)"
        raise UsageError(error.message, hint=hint) from error


def _require_rest(workspace: Workspace, record: JobRecord) -> None:
    """Return if nobody has a job, and it is to go on. What is left of a lost one is stopped."""
    _require_quiet(record)
    require_unfinished(workspace, record)


def _require_quiet(record: JobRecord) -> None:
    """Return if a job neither runs nor waits to. Asks who has it."""
    stands = folders.standing(record.folder)
    if not stands.alive:
        return
    if stands.problem:
        raise SchedulerUnreachable(
            f"nobody can say whether `{record.job}` runs: {stands.problem}",
            hint="try again in a minute",
        )
    waits = "is already running" if stands.waits is None else f"waits on `{record.target}`"
    raise ConflictError(f"job `{record.job}` {waits}", hint=f"perdure interrupt {record.job}")


def _with_image(workspace: Workspace, where: Target, record: JobRecord, report: Report) -> Target:
    """Return the target as it is once it has the job's image, where it has that from a registry."""
    if registry_of(where) is None:
        return where
    _require_lock(workspace, record)
    images.push_for(workspace, where, record.environment.variant, report)
    found = open_target(where.name, workspace.project, workspace.settings)
    found.require(UNLIMITED)
    return found


def _environment_there(
    workspace: Workspace, record: JobRecord, where: Target, report: Report
) -> EnvironmentUsed:
    """Return the job's environment as it is at another place: of the same lock."""
    used = record.environment
    if used.image is not None:
        return images.image_there(workspace, where, record, report)
    if used.prefix is None:
        return used
    _require_lock(workspace, record)
    return environments.environment_for(workspace, used.variant, where.place, report)


def _require_lock(workspace: Workspace, record: JobRecord) -> None:
    """Return if the project's locks are those that a job was submitted with. Reads the disk."""
    root, used = workspace.project.root, record.environment
    kept = record.folder / folders.IMAGE_LOCK
    same = _digest(root / "uv.lock") == used.lock
    if used.image is not None and kept.is_file():
        same = same and _digest(root / environments.IMAGE_LOCK_FILE) == _digest(kept)
    if used.lock is None or not same:
        raise UsageError(
            f"the lock has changed since `{record.job}` was submitted"
            if used.lock
            else f"`{record.job}` runs in an image of your own, which no lock of the project tells",
            hint=f"git checkout {record.code.commit}" if record.code.commit else "perdure run",
        )


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _fetch(now: Target, folder: Path, report: Report) -> None:
    """Bring what is elsewhere of a job here; a group of a cloud's is no more then."""
    if isinstance(now, Remote):
        carrying.fetch(now.place, folder, report)
    if isinstance(now, Cloud):
        handle = Handle(now.name, folder.name, folder)
        now.collect(handle)
        now.collect_checkpoint(handle, report)
        now.sweep(handle, ())


def _send(where: Target, record: JobRecord, report: Report) -> None:
    """Bring what is here of a job to where it is to go on."""
    if isinstance(where, Remote):
        carrying.send(where, record, report)
    if isinstance(where, Cloud):
        where.adopt(Handle(where.name, record.job, record.folder))


def _settle(where: Target, record: JobRecord) -> None:
    """Write down where a job is from now on; no scheduler has it. Touches the disk."""
    folder = record.folder
    for each in carrying.TICKETS:
        (folder / each).unlink(missing_ok=True)
    # The witness counts: it comes first, and goes last.
    if isinstance(where, Cloud | Remote):
        write_witness(folder, Witness(where.name, where.station))
    folders.write_record(record)
    if not isinstance(where, Cloud | Remote):
        (folder / folders.WITNESS_FILE).unlink(missing_ok=True)
