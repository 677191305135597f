"""What a host is asked about its jobs: how they stand, what they wrote, what they are to run.

Each function is called over a connection: values of JSON and bytes in, the same out. `root` is the
project's folder there.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perdure.errors import ConflictError, StorageError
from perdure.hosts.machine import boot_id, this_machine
from perdure.jobs import ending, snapshot
from perdure.jobs.provenance import read_data
from perdure.model.job_values import data_values, machine_values
from perdure.model.project import Project
from perdure.runtime import generation, names
from perdure.targets import far, presence
from perdure.targets.protocol import Handle

Values = dict[str, Any]

MOST_BYTES = 4 << 20
CODE_LIST = "code.json"
# What is kept of a run folder elsewhere: what it wrote before what it says of that.
_GROWING = ((names.METRICS, ".jsonl"), (names.LOGS, ".log"), (names.ATTEMPTS, ".jsonl"))
_META = "meta.json"
_CHECKPOINT = re.compile(r"g([0-9]+)-s([0-9]+)(?:-([0-9]+))?")


def look(root: str, asked: dict[str, dict[str, int]], whole: bool) -> Values:
    """Return how jobs stand, and what their run folders have beyond what is known of them.

    `asked` has the sizes of the files that are known, by run folder below `root`. Of each job:
    `alive`, `there` (there is such a run folder), `files` (where each piece begins, and its bytes)
    and `more`, where not all of it was sent. Not `whole`: without output and metrics.
    """
    left = MOST_BYTES
    jobs: Values = {}
    for name, known in asked.items():
        folder = Path(root, name)
        # Asked before the files: what was written before is then seen.
        alive = presence.is_alive(folder)
        files: Values = {}
        more = False
        for file in _kept(folder, alive=alive, whole=whole):
            found = _beyond(folder / file, known.get(file), left)
            if found is not None:
                at, data, complete = found
                files[file] = [at, data]
                left -= len(data)
                more = more or not complete
        there = (folder / names.JOB_FILE).is_file()
        jobs[name] = {"alive": alive, "there": there, "files": files, "more": more}
    return {"time": time.time(), "boot": boot_id(), "jobs": jobs}


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
    record = folder / names.JOB_FILE
    if record.is_file():
        if record.read_bytes() != files[names.JOB_FILE]:
            raise ConflictError(
                f"there is another job `{folder.name}` in `{folder.parent}` on that host",
                hint="perdure run --name ANOTHER",
            )
        return False
    for each in sorted(files, key=lambda each: each == names.JOB_FILE):
        draft = folder / f".{each}-{os.getpid()}"
        with draft.open("wb") as file:
            file.write(files[each])
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / each)
    return True


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


def finish(there: Values, run_dir: str) -> None:
    """Write down that a job without a supervisor was killed; nothing of it is left.

    Raises:
        ConflictError: its supervisor lives.
    """
    path = Path(run_dir)
    handle = Handle("", path.name, path)
    ending.finish(far.open_there(there), handle, time.time())


def ready(project: Project) -> None:
    """Make the project's folders where there are none. Touches the disk."""
    for folder in (project.results, project.data, project.state):
        folder.mkdir(parents=True, exist_ok=True)
    hidden = project.state / ".gitignore"
    if not hidden.exists():
        hidden.write_text("*\n")


def newest_checkpoint(folder: Path) -> str | None:
    """Return the name of the newest checkpoint of a run folder, None where there is none."""
    try:
        found = os.listdir(folder / names.CHECKPOINTS)  # noqa: PTH208 - names, not paths
    except OSError:
        return None
    complete = ((_CHECKPOINT.fullmatch(name), name) for name in found)
    ordered = sorted(
        (tuple(int(number or 0) for number in match.groups()), name)
        for match, name in complete
        if match
    )
    return ordered[-1][1] if ordered else None


def _kept(folder: Path, *, alive: bool, whole: bool) -> Iterator[str]:
    """Yield the names of the files that are kept elsewhere of a run folder, in their order."""
    if whole and not alive:
        newest = newest_checkpoint(folder)
        if newest is not None:
            yield f"{names.CHECKPOINTS}/{newest}/{_META}"
    for inner, suffix in _GROWING if whole else _GROWING[-1:]:
        yield from (f"{inner}/{name}" for name in _names(folder / inner) if name.endswith(suffix))
    prefix = names.GENERATION_PREFIX
    yield from (name for name in _names(folder) if name.startswith(prefix))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def _beyond(path: Path, known: int | None, left: int) -> tuple[int, bytes, bool] | None:
    """Return where the unknown part of a file begins, what of it may be sent, whether that is all.

    None: nothing is unknown. A file that is shorter than it is known to be is another one.
    """
    try:
        size = path.stat().st_size
        if known is not None and size == known:
            return None
        at = 0 if known is None or size < known else known
        with path.open("rb") as file:
            file.seek(at)
            data = file.read(max(0, min(size - at, left)))
    except OSError:
        return None
    return at, data, at + len(data) >= size


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
