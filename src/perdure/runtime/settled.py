"""Whether a job has come to its end, as its newest attempt tells.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import json
import os

from perdure.runtime import generation, names

INTERRUPTED = "INTERRUPTED"
_LAST_BYTES = 4096


def is_over(run_dir: str | os.PathLike[str], after: int) -> bool:
    """Return whether a scheduler is to leave the job alone. Reads the disk.

    It came to an end in an attempt later than `after`, or somebody asked for it to stay
    interrupted. Whatever else interrupts it, it is to go on.
    """
    events = ended(run_dir, after)
    if not events:
        return False
    stays = any(event.get("stays") for event in events if event.get("event") == "notice")
    return stays or events[-1].get("state") != INTERRUPTED


def ended(run_dir: str | os.PathLike[str], after: int) -> list[dict[str, object]]:
    """Return the events of the newest attempt, [] unless it is later than `after` and has ended."""
    try:
        newest = generation.newest(run_dir)
        if newest <= after or not _ends(_path(run_dir, newest)):
            return []
    except OSError:
        return []
    events = events_of(run_dir, newest)
    return events if events and events[-1].get("event") == "ended" else []


def events_of(run_dir: str | os.PathLike[str], number: int) -> list[dict[str, object]]:
    """Return the events of an attempt, [] where none can be read. Reads the disk."""
    try:
        with open(_path(run_dir, number), encoding="utf-8", errors="replace") as file:
            return [event for event in map(_event, file) if event is not None]
    except OSError:
        return []


def _path(run_dir: str | os.PathLike[str], number: int) -> str:
    return os.path.join(run_dir, names.ATTEMPTS, names.numbered(number, ".jsonl"))


def _ends(path: str) -> bool:
    """Return whether the last lines may tell of the end: a long file is asked after often."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
        return b'"ended"' in file.read()


def _event(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None  # torn by a crash
    return found if isinstance(found, dict) else None
