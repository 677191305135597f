"""How the jobs of a host stand, and what they have written, as it tells those who ask.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perdure.hosts.machine import boot_id
from perdure.runtime import names
from perdure.targets import presence

Values = dict[str, Any]

MOST_BYTES = 4 << 20
# What is kept of a run folder elsewhere: what it wrote before what it says of that.
_GROWING = ((names.METRICS, ".jsonl"), (names.LOGS, ".log"), (names.ATTEMPTS, ".jsonl"))
# What was said where no supervisor could, or by one.
BESIDE = (names.SUPERVISOR_LOG, names.SCHEDULER_LOG)
_META = "meta.json"
_CHECKPOINT = r"g([0-9]+)-s([0-9]+)(?:-([0-9]+))?"


def look(root: str, asked: dict[str, dict[str, int]], whole: bool) -> Values:
    """Return how jobs stand, and what their run folders have beyond what is known of them.

    `asked` has the sizes of the files that are known, by run folder below `root`. Of each job:
    `alive`, `there` (there is such a run folder), `files` (where each piece begins, and its bytes),
    `more`, where not all of it was sent, and what a scheduler says: `waits`, `ended`, `problem` of
    `Standing`. Not `whole`: without output and metrics.
    """
    left = MOST_BYTES
    jobs: Values = {}
    for name, known in asked.items():
        folder = Path(root, name)
        # Asked before the files: what was written before is then seen.
        found_there = presence.standing(folder)
        alive = found_there.alive
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
        jobs[name] = {
            "alive": alive,
            "there": there,
            "files": files,
            "more": more,
            "waits": found_there.waits,
            "ended": found_there.ended,
            "problem": found_there.problem,
        }
    return {"time": time.time(), "boot": boot_id(), "jobs": jobs}


def newest_checkpoint(folder: Path) -> str | None:
    """Return the name of the newest checkpoint of a run folder, None where there is none."""
    try:
        found = os.listdir(folder / names.CHECKPOINTS)  # noqa: PTH208 - names, not paths
    except OSError:
        return None
    complete = ((re.fullmatch(_CHECKPOINT, name), name) for name in found)
    ordered = sorted(
        (tuple(int(number or 0) for number in match.groups()), name)
        for match, name in complete
        if match
    )
    return ordered[-1][1] if ordered else None


def is_kept(name: str) -> bool:
    """Return whether a file of a run folder, by its name in there, is kept elsewhere. Pure."""
    inner, _, file = name.partition("/")
    if not file:
        return name.startswith(names.GENERATION_PREFIX) or name in BESIDE
    if inner == names.CHECKPOINTS:
        return bool(re.fullmatch(f"{_CHECKPOINT}/{re.escape(_META)}", file))
    return any(inner == folder and file.endswith(suffix) for folder, suffix in _GROWING)


def _kept(folder: Path, *, alive: bool, whole: bool) -> Iterator[str]:
    """Yield the names of the files that are kept elsewhere of a run folder, in their order."""
    if whole and not alive:
        newest = newest_checkpoint(folder)
        if newest is not None:
            yield f"{names.CHECKPOINTS}/{newest}/{_META}"
    if whole:
        yield from (name for name in BESIDE if (folder / name).is_file())
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
