"""Jobs submitted and started.

A job is submitted once, whole or not at all: its environment and the snapshot of its code first,
its run folder last, job.json last of all. Started it can be often.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from perdure.errors import ConflictError, MissingProgram, PerdureError, StorageError, UsageError
from perdure.hosts.machine import this_machine
from perdure.jobs import environment as environments
from perdure.jobs import folder as folders
from perdure.jobs import names as job_names
from perdure.jobs import patch, provenance, snapshot
from perdure.jobs.lifecycle import can_become, read_status
from perdure.jobs.request import Decided, JobRequest, decide, rerun_request
from perdure.jobs.strays import stop_strays
from perdure.jobs.workspace import Workspace, make_state_folder, storing, submitting
from perdure.model.job import (
    Code,
    Data,
    EnvironmentUsed,
    JobRecord,
    JobStatus,
    Machine,
    State,
)
from perdure.model.report import Report, silent
from perdure.runtime import names
from perdure.runtime.generation import sync_folder
from perdure.targets.protocol import Plan
from perdure.targets.registry import LOCAL, open_target

__all__ = ["JobRequest", "explain", "rerun", "resume", "start", "submit"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


def submit(workspace: Workspace, request: JobRequest, *, report: Report = silent) -> JobRecord:
    """Return the job as it is recorded: run folder, snapshot and environment are there.

    Raises:
        UsageError: no such task or command, a name that is none, code too large.
        ConflictError: the name is taken.
        EnvironmentFailed: the environment cannot be had.
        StorageError: no space, or a folder that cannot be written; nothing is left behind.
    """
    project = workspace.project
    decided = decide(project, request)
    if request.name is not None and (project.results / request.name).exists():
        raise ConflictError(
            f"there is a job `{request.name}` already", hint=f"perdure show {request.name}"
        )
    with storing("the job"), submitting(project):
        if request.rerun_of is None:
            source = _present(workspace, request, report)
        else:
            source = _recorded(workspace, request.rerun_of, report)
        job = job_names.claim(project.results, wanted=request.name)
        try:
            record = _record(workspace, request, decided, source, job)
            _refuse_missing_program(record, plan_of(workspace, record))
            _write(workspace, record, source)
        except BaseException:
            shutil.rmtree(project.results / job, ignore_errors=True)
            raise
    return record


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
    project = workspace.project
    decided = decide(project, request)
    digest = "" if request.live else snapshot.read_tree(project, silent, store=False).digest
    source = _Source(
        code=Code(None, True, None if request.live else digest, 0, digest),
        environment=environments.planned_environment(workspace, request.variant),
    )
    record = _record(workspace, request, decided, source, request.name or "JOB", looked=False)
    text = open_target(LOCAL, project).plan(record).text()
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
    if folders.is_alive(record.folder):
        raise _running(record)
    plan = _plan(workspace, record, environment, report)
    with storing("the run folder"):
        handle = open_target(record.target, workspace.project).submit(plan, record.job)
    if handle.pid is None:
        raise _running(record)
    return handle.pid


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
    status = read_status(record.folder)
    if folders.is_alive(record.folder):
        raise _running(record)
    if not can_become(status.state, State.STARTING):
        raise ConflictError(
            f"job `{record.job}` has {status.state.value.lower()} already",
            hint=f"perdure rerun {record.job}",
        )
    if status.state is State.LOST:
        clear_strays(record)
    return start(workspace, record, environment=environment, report=report)


def clear_strays(record: JobRecord) -> int:
    """Return how many processes of a lost job were still there; they were stopped, as they ask."""
    with storing("the run folder"):
        events = folders.read_history(record.folder)
        return stop_strays(record.folder, events, grace_s=record.limits.grace_s)


def plan_of(workspace: Workspace, record: JobRecord) -> Plan:
    """Return what starting a recorded job would execute."""
    return open_target(record.target, workspace.project).plan(record)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a job runs: code, in an environment. The rest is None where it is only explained."""

    code: Code
    environment: EnvironmentUsed
    tree: snapshot.Tree | None = None
    patch: bytes = b""
    lock_from: Path | None = None


def _present(workspace: Workspace, request: JobRequest, report: Report) -> _Source:
    """Return the working tree as it is now, kept; the environment is brought up to date first."""
    project = workspace.project
    used = environments.environment_for(workspace, request.variant, report)
    state = make_state_folder(project)
    # After the environment: locking may have written uv.lock, which is part of the code.
    tree = snapshot.read_tree(project, report, store=not request.live)
    kept = None if request.live else snapshot.make_snapshot(project, tree)
    revision = patch.read_revision(
        project.root, kept or project.root, tree.entries, scratch=state, report=report
    )
    code = Code(
        commit=revision.commit,
        dirty=revision.dirty,
        snapshot=None if kept is None else tree.digest,
        files=len(tree.entries),
        digest=tree.digest,
    )
    return _Source(code, used, tree, revision.patch)


def _recorded(workspace: Workspace, job: str, report: Report) -> _Source:
    """Return what a recorded job ran."""
    project = workspace.project
    before = folders.read_record(project.results / job)
    tree = read_tree_of(before)
    code = before.code
    if code.snapshot is None:
        tree = snapshot.read_tree(project, report, store=True)
        if tree.digest != code.digest:
            raise UsageError(
                f"job `{job}` ran the working tree (`--live`), which has changed since",
                hint=f"git checkout {code.commit}" if code.commit else "perdure run",
            )
        code = replace(code, snapshot=snapshot.make_snapshot(project, tree).name)
    _ensure_code(workspace, before, tree)
    environments.restore_environment(workspace, before, report)
    changes = before.folder / names.PATCH_FILE
    known = changes.read_bytes() if changes.is_file() else b""
    return _Source(code, before.environment, tree, known, before.folder / folders.ENVIRONMENT_LOCK)


def _record(
    workspace: Workspace,
    request: JobRequest,
    decided: Decided,
    source: _Source,
    job: str,
    *,
    looked: bool = True,
) -> JobRecord:
    nowhere = Machine("", "", "", 0, 0.0, (), "")
    return JobRecord(
        results=workspace.project.results,
        job=job,
        task=decided.task,
        arguments=decided.arguments,
        submitted=dt.datetime.now(dt.UTC).isoformat(),
        command=decided.command,
        seed=decided.seed,
        code=source.code,
        environment=source.environment,
        data=provenance.read_data(workspace.project.data) if looked else Data("", 0, 0),
        machine=this_machine() if looked else nowhere,
        versions=provenance.versions(),
        limits=decided.limits,
        rerun_of=request.rerun_of,
        variables=dict(request.environment),
    )


def _write(workspace: Workspace, record: JobRecord, source: _Source) -> None:
    folder = record.folder
    (folder / names.OUTPUTS).mkdir()
    if source.tree is not None:
        text = source.tree.to_json()
        (folder / folders.CODE_LIST).write_text(text)
    if source.patch:
        (folder / names.PATCH_FILE).write_bytes(source.patch)
    if source.lock_from is not None and source.lock_from.is_file():
        shutil.copyfile(source.lock_from, folder / folders.ENVIRONMENT_LOCK)
    else:
        environments.keep_lock(workspace, record.environment, folder)
    folders.write_record(record)
    sync_folder(folder)


def read_tree_of(record: JobRecord) -> snapshot.Tree | None:
    """Return the list of a job's files, None where there is none. Touches the disk."""
    try:
        text = (record.folder / folders.CODE_LIST).read_text()
        return snapshot.Tree.from_json(text)
    except (OSError, ValueError):
        return None


def _plan(
    workspace: Workspace, record: JobRecord, environment: Mapping[str, str], report: Report
) -> Plan:
    _ensure_code(workspace, record, read_tree_of(record))
    environments.restore_environment(workspace, record, report)
    variables = {**record.variables, **environment}
    return plan_of(workspace, replace(record, variables=variables))


def _ensure_code(workspace: Workspace, record: JobRecord, tree: snapshot.Tree | None) -> None:
    if record.code.snapshot is None:
        return
    folder = snapshot.snapshot_folder(workspace.project, record.code.snapshot)
    if not folder.is_dir():
        _make_again(workspace, record, tree)
    elif tree is not None:
        snapshot.verify(folder, tree)


def _make_again(workspace: Workspace, record: JobRecord, tree: snapshot.Tree | None) -> None:
    try:
        if tree is None:
            raise StorageError("its list of files is gone")
        snapshot.make_snapshot(workspace.project, tree)
    except (OSError, PerdureError) as error:
        commit = record.code.commit
        raise StorageError(
            f"the snapshot of the code of `{record.job}` is gone",
            hint=f"git checkout {commit}, then git apply {record.folder / names.PATCH_FILE}"
            if commit
            else "perdure run: the code as it is now",
        ) from error


def _refuse_missing_program(record: JobRecord, plan: Plan) -> None:
    word = plan.argv[plan.argv.index("--") + 1]
    path = plan.environment.get("PATH")
    if shutil.which(plan.cwd / word if "/" in word else word, path=path) is None:
        raise MissingProgram(f"task `{record.task}`: no program `{word}` was found", program=word)


def _running(record: JobRecord) -> ConflictError:
    attempt = _attempt_of(read_status(record.folder))
    return ConflictError(
        f"job `{record.job}` is already running{attempt}", hint=f"perdure logs -f {record.job}"
    )


def _attempt_of(status: JobStatus) -> str:
    """Return ` (attempt N)`, "" before the first one."""
    return f" (attempt {status.attempt})" if status.attempt else ""
