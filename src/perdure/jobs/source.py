"""What a job runs: code and an environment, as they are now or as they were recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from perdure.errors import PerdureError, StorageError, UsageError
from perdure.jobs import elsewhere, patch, snapshot
from perdure.jobs import environment as environments
from perdure.jobs import folder as folders
from perdure.jobs import image as images
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace, make_state_folder
from perdure.model.job import Code, EnvironmentUsed, JobRecord
from perdure.model.report import Report, silent
from perdure.runtime import names
from perdure.targets.protocol import Target


@dataclass(frozen=True, slots=True)
class Source:
    """Code, in an environment. The rest is None where it is only explained."""

    code: Code
    environment: EnvironmentUsed
    tree: snapshot.Tree | None = None
    patch: bytes = b""
    locks_from: Path | None = None


def present(workspace: Workspace, request: JobRequest, target: Target, report: Report) -> Source:
    """Return the working tree as it is now, kept; the environment is brought up to date first.

    Of a target elsewhere the environment is there, and the code is sent there.
    """
    project = workspace.project
    if target.in_image:
        used = images.image_for(workspace, target, request.variant, report)
    else:
        used = environments.environment_for(workspace, request.variant, target.place, report)
    state = make_state_folder(project)
    # After the environment: locking may have written uv.lock, which is part of the code.
    tree = snapshot.read_tree(project, report, store=not request.live)
    kept = None if request.live else snapshot.make_snapshot(project, tree)
    if request.pegged:
        used = images.image_for(workspace, target, request.variant, report, code=kept)
    if not target.place.is_here:
        elsewhere.send_code(target.place, project, tree, report)
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
    return Source(code, used, tree, revision.patch)


def planned(workspace: Workspace, request: JobRequest, target: Target) -> Source:
    """Return what `present` would; reads the disk, keeps and installs nothing."""
    tree = None if request.live else snapshot.read_tree(workspace.project, silent, store=False)
    digest = "" if tree is None else tree.digest
    if target.in_image:
        pegged = tree if request.pegged else None
        used = images.planned_image(workspace, target, request.variant, pegged)
    else:
        used = environments.planned_environment(workspace, request.variant, target.place)
    return Source(Code(None, True, None if tree is None else digest, 0, digest), used)


def recorded(workspace: Workspace, job: str, target: Target, report: Report) -> Source:
    """Return what a recorded job ran.

    Raises:
        UsageError: it ran the working tree, which is another one now.
        StorageError: its snapshot is gone.
        EnvironmentFailed: its environment is gone and cannot be made again.
    """
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
    ensure_code(workspace, before)
    if not target.place.is_here and tree is not None:
        elsewhere.send_code(target.place, project, tree, report)
    used = ensure_environment(workspace, before, target, report)
    changes = before.folder / names.PATCH_FILE
    known = changes.read_bytes() if changes.is_file() else b""
    return Source(code, used, tree, known, before.folder)


def read_tree_of(record: JobRecord) -> snapshot.Tree | None:
    """Return the list of a job's files, None where there is none. Touches the disk."""
    try:
        text = (record.folder / folders.CODE_LIST).read_text()
        return snapshot.Tree.from_json(text)
    except (OSError, ValueError):
        return None


def ensure_environment(
    workspace: Workspace, record: JobRecord, target: Target, report: Report
) -> EnvironmentUsed:
    """Return the environment of a recorded job, made again if it is gone.

    Raises:
        EnvironmentFailed: it cannot be made again.
    """
    if record.environment.image is not None:
        return images.restore_image(workspace, target, record, report)
    environments.restore_environment(workspace, record, target.place, report)
    return record.environment


def ensure_code(workspace: Workspace, record: JobRecord) -> None:
    """Return if the snapshot of a recorded job is there and as it was, made again if it is gone.

    Raises:
        StorageError: it was changed, or cannot be made again.
    """
    if record.code.snapshot is None:
        return
    tree = read_tree_of(record)
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
