"""Jobs submitted and started.

A job is submitted once, whole or not at all: its environment and the snapshot of its code first,
its run folder last, job.json last of all. Started it can be often.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from perdure.errors import ConflictError, PerdureError
from perdure.hosts.machine import this_machine
from perdure.jobs import custody, elsewhere, mirror, provenance, source
from perdure.jobs import environment as environments
from perdure.jobs import folder as folders
from perdure.jobs import image as images
from perdure.jobs import names as job_names
from perdure.jobs.elsewhere import target_in
from perdure.jobs.lifecycle import can_become, read_status
from perdure.jobs.request import Decided, JobRequest, decide, require_place, rerun_request
from perdure.jobs.source import Source
from perdure.jobs.workspace import Workspace, storing, submitting
from perdure.model.job import Data, JobRecord, JobStatus, Machine, State
from perdure.model.report import Report, silent
from perdure.runtime import names
from perdure.runtime.generation import sync_folder
from perdure.targets.protocol import Handle, Plan, Target
from perdure.targets.registry import open_target

__all__ = [
    "Draft",
    "JobRequest",
    "begin",
    "checked",
    "drafted",
    "explain",
    "planned_record",
    "prepared",
    "rerun",
    "resume",
    "start",
    "submit",
    "without_seed",
    "write",
]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Draft:
    """A job as it would be recorded, and what it runs: all is there but its run folder."""

    record: JobRecord
    source: Source
    target: Target


def submit(workspace: Workspace, request: JobRequest, *, report: Report = silent) -> JobRecord:
    """Return the job as it is recorded: run folder, snapshot and environment are there.

    Raises:
        UsageError: no such task or command, a name that is none, code too large, no such target.
        ConflictError: the name is taken.
        EnvironmentFailed: the environment cannot be had.
        StorageError: no space, or a folder that cannot be written; nothing is left behind.
    """
    project = workspace.project
    known = checked(workspace, request)
    with storing("the job"), submitting(project):
        draft = drafted(workspace, request, known, report=report)
        job = job_names.claim(project.results, wanted=request.name)
        record = replace(draft.record, job=job)
        try:
            draft.target.verify(draft.target.plan(record))
            write(workspace, draft.target, record, draft.source)
        except BaseException:
            shutil.rmtree(project.results / job, ignore_errors=True)
            raise
    return record


def checked(workspace: Workspace, request: JobRequest) -> tuple[Decided, Target]:
    """Return what is to be run and where, before anything is made for it. Raises as `submit`."""
    decided = decide(workspace.project, request)
    target = _target(workspace, request)
    target.require(request.resources, decided.limits.grace_s)
    if request.name is not None:
        job_names.require_free(workspace.project.results, workspace.project.state, request.name)
    return decided, target


def drafted(
    workspace: Workspace,
    request: JobRequest,
    known: tuple[Decided, Target],
    *,
    report: Report = silent,
) -> Draft:
    """Return a job without a run folder: its snapshot and its environment are there.

    `known` is what `checked` returned. Whoever calls this holds `submitting`, or nothing keeps
    what was made. Raises as `submit`.
    """
    decided, target = known
    if images.push_for(workspace, target, request.variant, report):
        target = _target(workspace, request)
        target.require(request.resources, decided.limits.grace_s)
    if request.rerun_of is None:
        used = source.present(workspace, request, target, report)
    else:
        used = source.recorded(workspace, request.rerun_of, target, report)
    record = _record(workspace, request, decided, used, request.name or "")
    return Draft(_found_at(target, record), used, target)


def rerun(workspace: Workspace, record: JobRecord, *, report: Report = silent) -> JobRecord:
    """Return a new job with a recorded one's code, environment, arguments and seed.

    Raises:
        UsageError: it ran the working tree, which is another one now.
        StorageError: its snapshot is gone.
    """
    return submit(workspace, rerun_request(record), report=report)


def explain(workspace: Workspace, request: JobRequest) -> str:
    """Return what submitting and starting would execute, as a shell would take it.

    Reads the disk, writes nothing. The job's name and a seed that is drawn are not known yet.
    """
    target, record = planned_record(workspace, request)
    text = without_seed(target.plan(record).text(), request, record)
    return "\n".join([text, *(f"# {line}" for line in elsewhere.prices(target))])


def planned_record(workspace: Workspace, request: JobRequest) -> tuple[Target, JobRecord]:
    """Return a job as it would be recorded, and its target. Reads the disk, writes nothing."""
    decided = decide(workspace.project, request)
    target = _target(workspace, request)
    planned = source.planned(workspace, request, target)
    return target, _record(workspace, request, decided, planned, request.name or "JOB")


def without_seed(text: str, request: JobRequest, record: JobRecord) -> str:
    """Return what is explained, without a seed that would be drawn anew. Pure."""
    return text if request.seed is not None else text.replace(f"--seed {record.seed} ", "")


def start(
    workspace: Workspace,
    record: JobRecord,
    *,
    environment: Mapping[str, str] = _NOTHING,
    report: Report = silent,
) -> int:
    """Return the process id of the supervisor, once it owns the run folder. Starts a process.

    `environment` lies over the job's variables for this start only.

    Raises:
        ConflictError: it is running.
        StorageError: its snapshot is gone or was changed.
        EnvironmentFailed: its environment is gone and cannot be made again.
        PerdureError: the supervisor ends without having begun; its last words are the hint.
    """
    with custody.starting(record.folder):
        mirror.bring(record.folder)
        if folders.is_alive(record.folder):
            raise _running(record)
        target = target_of(workspace, record)
        _require_settled(target, record)
        plan = prepared(workspace, target, record, environment, report=report)
        with storing("the run folder"):
            handle = target.submit(plan, record.job)
    mirror.bring(record.folder)
    if handle.pid is None:
        raise _running(record)
    return handle.pid


def begin(
    workspace: Workspace,
    record: JobRecord,
    *,
    environment: Mapping[str, str] = _NOTHING,
    report: Report = silent,
) -> int:
    """Return as `start` does, of a job that was submitted to be started now.

    One that was refused, by an engine without GPUs for one, is removed: it never ran, what kept it
    from running is the error, and its name is free for the next try. Raises as `start`.
    """
    try:
        return start(workspace, record, environment=environment, report=report)
    except PerdureError:
        _forget_unbegun(workspace, record)
        raise


def resume(
    workspace: Workspace,
    record: JobRecord,
    *,
    environment: Mapping[str, str] = _NOTHING,
    report: Report = silent,
) -> int:
    """Return the process id of a supervisor that goes on with a job that does not run.

    What a dead supervisor left running is asked to save and stopped first.

    Raises:
        ConflictError: it is running, or it has succeeded.
        Others: as `start`.
    """
    with custody.starting(record.folder):
        mirror.bring(record.folder)
        if folders.is_alive(record.folder):
            raise _running(record)
        require_unfinished(workspace, record)
        return start(workspace, record, environment=environment, report=report)


def require_unfinished(workspace: Workspace, record: JobRecord) -> None:
    """Return if a job that nobody runs is to go on. What is left of a lost one is stopped.

    Raises:
        ConflictError: it has succeeded, say.
    """
    status = read_status(record.folder)
    if not can_become(status.state, State.STARTING):
        raise ConflictError(
            f"job `{record.job}` has {status.state.value.lower()} already",
            hint=f"perdure rerun {record.job}",
        )
    if status.state is State.LOST:
        clear_strays(workspace, record)


def clear_strays(workspace: Workspace, record: JobRecord) -> int:
    """Return how many processes of a lost job were still there; they were stopped, as they ask."""
    with storing("the run folder"):
        events = folders.read_history(record.folder)
        handle = Handle(record.target, record.job, record.folder)
        grace_s = record.limits.grace_s
        return target_of(workspace, record).sweep(handle, events, grace_s=grace_s)


def target_of(workspace: Workspace, record: JobRecord) -> Target:
    """Return the target that a job is on."""
    return target_in(record.folder, workspace.project, record.target, workspace.settings)


def _require_settled(target: Target, record: JobRecord) -> None:
    """Return if a job's record is of where it is: read anew, and all of it.

    Raises:
        ConflictError: it went elsewhere since it was read, or was broken off on its way.
    """
    recorded = folders.target_of(record.folder)
    if recorded == target.name == record.target:
        return
    raise ConflictError(
        f"job `{record.job}` went to `{target.name}`, and its record is that of `{record.target}`",
        hint=f"perdure resume {record.job} --on {target.name}",
    )


def plan_of(workspace: Workspace, record: JobRecord) -> Plan:
    """Return what starting a recorded job would execute."""
    return target_of(workspace, record).plan(record)


def _target(workspace: Workspace, request: JobRequest) -> Target:
    target = open_target(request.target, workspace.project, workspace.settings)
    require_place(request, target)
    return target


def _found_at(target: Target, record: JobRecord) -> JobRecord:
    """Return the record with the data and the machine that the job has where it runs."""
    place = target.place
    if place.is_here:
        data, machine = provenance.read_data(place.local / "data"), this_machine()
    else:
        data, machine = elsewhere.surroundings(place)
    return replace(record, data=data, machine=machine)


def _record(
    workspace: Workspace,
    request: JobRequest,
    decided: Decided,
    used: Source,
    job: str,
) -> JobRecord:
    return JobRecord(
        results=workspace.project.results,
        job=job,
        task=decided.task,
        arguments=decided.arguments,
        submitted=dt.datetime.now(dt.UTC).isoformat(),
        command=decided.command,
        seed=decided.seed,
        code=used.code,
        environment=used.environment,
        data=Data("", 0, 0),
        machine=Machine("", "", "", 0, 0.0, (), ""),
        versions=provenance.versions(),
        limits=decided.limits,
        target=request.target,
        rerun_of=request.rerun_of,
        variables=dict(request.environment),
        resources=request.resources,
    )


def write(workspace: Workspace, target: Target, record: JobRecord, used: Source) -> None:
    """Write what a run folder holds before its job runs, job.json last. Touches the disk."""
    folder = record.folder
    (folder / names.OUTPUTS).mkdir()
    if used.tree is not None:
        text = used.tree.to_json()
        (folder / folders.CODE_LIST).write_text(text)
    if used.patch:
        (folder / names.PATCH_FILE).write_bytes(used.patch)
    if used.locks_from is None:
        environments.keep_locks(workspace, record.environment, folder)
    else:
        environments.copy_locks(used.locks_from, folder)
    elsewhere.mark(target, record)
    folders.write_record(record)
    sync_folder(folder)


def prepared(
    workspace: Workspace,
    target: Target,
    record: JobRecord,
    environment: Mapping[str, str] = _NOTHING,
    *,
    report: Report = silent,
) -> Plan:
    """Return what starting a recorded job executes; code and environment are there by now.

    Raises as `start`.
    """
    # First: an engine that cannot run the job is to build nothing for it either.
    target.require(record.resources, record.limits.grace_s)
    if target.place.is_here:
        source.ensure_code(workspace, record)
    else:
        elsewhere.ensure_code(target.place, workspace.project, record, report)
        elsewhere.send_folder(target.place, record)
    used = source.ensure_environment(workspace, record, target, report)
    variables = {**record.variables, **environment}
    return target.plan(replace(record, environment=used, variables=variables))


def _forget_unbegun(workspace: Workspace, record: JobRecord) -> None:
    """Remove the run folder of a job of which no attempt ever began, and none can any more."""
    folder = record.folder
    target = target_of(workspace, record)
    if not target.place.is_here:
        try:
            if not elsewhere.forget(target.place, folder):
                return
        except PerdureError:
            return  # the connection was lost: it may have begun
    if folders.is_alive(folder) or folders.claimed(folder) or folders.attempts(folder):
        return
    # What cannot be removed is no second error; the record goes first, without one it is no job.
    with contextlib.suppress(OSError):
        (folder / names.JOB_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _running(record: JobRecord) -> ConflictError:
    attempt = _attempt_of(read_status(record.folder))
    return ConflictError(
        f"job `{record.job}` is already running{attempt}", hint=f"perdure logs -f {record.job}"
    )


def _attempt_of(status: JobStatus) -> str:
    """Return ` (attempt N)`, "" before the first one."""
    return f" (attempt {status.attempt})" if status.attempt else ""
