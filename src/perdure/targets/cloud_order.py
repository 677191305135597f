"""What a machine of a cloud is told of a job: its values, its commands, its run folder's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.clouds import submission
from perdure.clouds.clock import Clock
from perdure.clouds.side import order as orders
from perdure.clouds.side import standing
from perdure.clouds.side.bucket import Bucket
from perdure.model.job import JobRecord
from perdure.model.project import Project
from perdure.runtime import names

NO_TURN = 0
_HOUR_S = 3600.0
_PYTHON_WORDS = frozenset({"python", "python3"})
# Of a run folder, what a machine is given.
_FILES = (names.JOB_FILE, names.PATCH_FILE, "code.json", "environment.lock", "image.lock")


def brought(bucket: Bucket, run_dir: Path, text: str, max_hours: float) -> orders.Order:
    """Return the order of a turn, all that it needs is in the bucket; turn 0: it has begun.

    `text` is the order as it was planned. Touches disk and network.
    """
    key, order = run_dir.name, orders.of_text(text)
    turn = submission.next_turn(bucket, key)
    if turn.wanted:
        return order
    files = {name: (run_dir / name).read_bytes() for name in _FILES if (run_dir / name).is_file()}
    submission.bring_folder(bucket, key, files)
    return replace(
        order,
        turn=turn.turn,
        asked=standing.asked(bucket, key).number,
        deadline=Clock(bucket).now().timestamp() + max_hours * _HOUR_S,
        files=tuple(files),
    )


def commands(project: Project, job: JobRecord) -> dict[str, str]:
    """Return what a job's first word is, where that is a command of the project."""
    word = job.argv[0]
    if word in _PYTHON_WORDS or "/" in word:
        return {}
    from perdure.targets.command import command_code

    snapshot, root = job.code.snapshot, project.root
    kept = None if snapshot is None else project.state / "snapshots" / snapshot
    code = command_code(kept if kept is not None and kept.is_dir() else root, word)
    return {} if code is None else {word: code}
