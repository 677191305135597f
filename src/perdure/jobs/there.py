"""What a host is told of its jobs: what they are to run, and that they are over.

Each function is called over a connection: values of JSON and bytes in, the same out. `root` is the
project's folder there.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from perdure.errors import ConflictError, StorageError
from perdure.hosts.machine import this_machine
from perdure.jobs import ending, snapshot
from perdure.jobs import folder as folders
from perdure.jobs.provenance import read_data
from perdure.model.job import ImageUsed
from perdure.model.job_values import data_values, machine_values
from perdure.model.project import Project
from perdure.runtime import generation, names
from perdure.targets import far, presence, slurm_image
from perdure.targets.protocol import Handle

Values = dict[str, Any]

CODE_LIST = "code.json"
# What the run folders of a sweep have in common: as `perdure.sweeps.trials` has it.
_SHARED = frozenset({CODE_LIST, names.PATCH_FILE, "environment.lock", "image.lock"})


def surroundings(root: str) -> Values:
    """Return what is recorded of the host for a job: its data, and what machine it is."""
    data = read_data(_project(root).data)
    return {"data": data_values(data), "machine": machine_values(this_machine())}


def lacking(root: str, tree: str) -> list[list[str]] | None:
    """Return which contents of a snapshot the host lacks, None where it has the snapshot."""
    project, wanted = _project(root), snapshot.Tree.from_json(tree)
    if snapshot.snapshot_folder(project, wanted.digest).is_dir():
        return None
    contents = {(each.kind, each.content) for each in wanted.entries.values() if each.kind != "l"}
    return [
        [kind, content]
        for kind, content in sorted(contents)
        if not snapshot.has_object(project, snapshot.Entry(kind, content))
    ]


def take(root: str, contents: list[list[Any]]) -> None:
    """Store contents of files: kind, digest and bytes of each.

    Raises:
        StorageError: one is not what its digest says.
    """
    project = _project(root)
    ready(project)
    for kind, digest, data in contents:
        if hashlib.sha256(data).hexdigest() != digest:
            raise StorageError(f"the contents `{digest}` did not arrive as they were sent")
        snapshot.store_object(project, snapshot.Entry(kind, digest), data)


def build(root: str, tree: str) -> None:
    """Make the snapshot of contents that are all there. Raises OSError where the disk refuses."""
    project = _project(root)
    ready(project)
    snapshot.make_snapshot(project, snapshot.Tree.from_json(tree))


def verify(root: str, tree: str) -> bool:
    """Return whether a snapshot is there.

    Raises:
        StorageError: it was changed.
    """
    known = snapshot.Tree.from_json(tree)
    folder = snapshot.snapshot_folder(_project(root), known.digest)
    if not folder.is_dir():
        return False
    snapshot.verify(folder, known)
    return True


def begin(root: str, name: str, files: dict[str, bytes]) -> bool:
    """Return whether a run folder was made by this call: `files` are in it, job.json comes last.

    Raises:
        ConflictError: there is another job of that name.
    """
    folder = Path(root, name)
    ready(_project(root))
    (folder / names.OUTPUTS).mkdir(parents=True, exist_ok=True)
    if _is_recorded(folder, files[names.JOB_FILE]):
        return False
    for each in sorted(files, key=lambda each: each == names.JOB_FILE):
        draft = folder / f".{each}-{os.getpid()}"
        with draft.open("wb") as file:
            file.write(files[each])
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / each)
    return True


def begin_trials(root: str, base: str, records: dict[str, bytes]) -> None:
    """Make run folders that are not there yet: `records` are their job.json, by their names.

    What they have in common lies in the folder `base`, below `root` as well, and is linked. Nothing
    is durable yet: what is lost is made again.

    Raises:
        ConflictError: there is another job of such a name there.
    """
    project = _project(root)
    shared = [path for path in Path(root, base).iterdir() if path.name in _SHARED]
    for name, record in records.items():
        folder = project.results / name
        if _is_recorded(folder, record):
            continue
        for inner in (names.OUTPUTS, names.ATTEMPTS, names.LOGS):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        for path in shared:
            _share(path, folder / path.name)
        draft = folder / f".{names.JOB_FILE}-{os.getpid()}"
        draft.write_bytes(record)
        draft.replace(folder / names.JOB_FILE)


def _is_recorded(folder: Path, record: bytes) -> bool:
    """Return whether a run folder has its job.json.

    Raises:
        ConflictError: it has another job's.
    """
    try:
        held = (folder / names.JOB_FILE).read_bytes()
    except FileNotFoundError:
        return False
    # One that a machine's crash left empty, or full of zeros, was never made durable.
    if not held.strip(b"\0"):
        return False
    if held != record:
        raise ConflictError(
            f"there is another job `{folder.name}` in `{folder.parent}` on that host",
            hint="perdure run --name ANOTHER",
        )
    return True


def _share(path: Path, at: Path) -> None:
    try:
        os.link(path, at)
    except FileExistsError:
        return
    except OSError:
        draft = at.with_name(f".{at.name}-{os.getpid()}")
        shutil.copyfile(path, draft)
        draft.replace(at)


def forget(root: str, name: str) -> bool:
    """Return whether no attempt of a job ever began; its run folder is removed then."""
    folder = Path(root, name)
    if not folder.is_dir():
        return True
    try:
        with presence.held(folder):
            if generation.newest(folder):
                return False
            shutil.rmtree(folder)
    except ConflictError:
        return False
    return True


def release(root: str, name: str, claimed: int) -> None:
    """Have a run folder be no job's any more, if nobody has run it since generation `claimed`.

    Who looks for jobs finds none there, and no scheduler is asked after it. Touches the disk.

    Raises:
        ConflictError: it runs, or has run meanwhile.
    """
    folder = Path(root, name)
    if not folder.is_dir():
        return
    with presence.held(folder):
        if generation.newest(folder) != claimed:
            raise ConflictError(f"job `{folder.name}` has run meanwhile", hint="try again")
        for each in (names.JOB_FILE, names.TICKET_FILE, names.KUBERNETES_FILE):
            (folder / each).unlink(missing_ok=True)


def sweep(root: str) -> int:
    """Return how many snapshots were deleted that no job of the project needs any more.

    The files of images that none needs are deleted with them.

    A job whose record cannot be read needs all of them.
    """
    project = _project(root)
    needed, used = set(), []
    for record in (*project.results.glob("*/job.json"), *project.state.glob("drills/*/*/job.json")):
        try:
            known = json.loads(record.read_bytes())
            needed.add(known["code"]["snapshot"])
            image = known.get("environment", {}).get("image")
            used += [ImageUsed(image["tag"], image["id"], 0, 0)] if image else []
        except (OSError, ValueError, KeyError, TypeError):
            return 0
    doomed = [
        folder
        for folder in (project.state / "snapshots").glob("*")
        if folder.name not in needed and not folder.name.startswith(".")
    ]
    for folder in doomed:
        snapshot.remove_tree(folder)
    for file in slurm_image.unneeded(root, used):
        file.unlink()
    for file in (project.state / "objects").glob("??/*"):
        if file.lstat().st_nlink == 1:
            file.unlink()
    return len(doomed)


def finish(there: Values, run_dir: str) -> None:
    """Write down that a job without a supervisor was killed; nothing of it is left.

    Raises:
        ConflictError: its supervisor lives.
    """
    path = Path(run_dir)
    handle = Handle("", path.name, path)
    ending.finish(far.open_there(there), handle, time.time())


def is_to_end(run_dir: str) -> bool:
    """Return whether somebody touched CANCEL since the newest attempt said its last word.

    The next one would hear it: see `TouchedFile.drop_stale` of the supervisor.
    """
    path = Path(run_dir)
    try:
        asked = (path / names.CANCEL).lstat().st_mtime
        said = [folders.events_path(path, each) for each in folders.attempts(path)[-1:]]
        return all(asked > each.stat().st_mtime for each in said)
    except OSError:
        return False


def ready(project: Project) -> None:
    """Make the project's folders where there are none. Touches the disk."""
    for folder in (project.results, project.data, project.state):
        folder.mkdir(parents=True, exist_ok=True)
    hidden = project.state / ".gitignore"
    if not hidden.exists():
        hidden.write_text("*\n")


def _project(root: str) -> Project:
    path = Path(root)
    return Project(path, path.name, "", {})


def read_list(folder: Path) -> str | None:
    """Return the list of a job's files, None where there is none."""
    try:
        text = (folder / CODE_LIST).read_text()
        json.loads(text)
    except (OSError, ValueError):
        return None
    return text
