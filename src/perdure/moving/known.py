"""What both sides had when something was last moved: it tells an edit from an older version.

One file for each other side and word, in `.perdure/moving/`. Losing it costs no data: what differs
then counts as edited on both sides, and is kept when it is displaced.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.runtime import names

_HEAD = b"perdure moving %d\0" % names.FORMAT
Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """A file's size and time on each side, when both had the same contents."""

    near: Stamp
    far: Stamp


def known_file(state: Path, where: str, word: str) -> Path:
    """Return the file for one other side and word, below the project's state folder. Pure."""
    digest = hashlib.sha256(where.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return state / "moving" / f"{word}-{digest}.known"


def read_known(file: Path) -> dict[str, Seen]:
    """Return what both sides had, by path; nothing where it was never written. Reads the disk."""
    try:
        content = file.read_bytes()
    except OSError:
        return {}
    if not content.startswith(_HEAD):
        return {}
    known = {}
    for line in content[len(_HEAD) :].split(b"\0"):
        facts, _, path = line.partition(b" /")
        numbers = facts.split()
        if len(numbers) == 4:
            near_size, near_time, far_size, far_time = map(int, numbers)
            seen = Seen((near_size, near_time), (far_size, far_time))
            known[path.decode("utf-8", "surrogateescape")] = seen
    return known


def write_known(file: Path, known: Mapping[str, Seen]) -> None:
    """Write it, whole or not at all. Touches the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with draft.open("wb") as out:
        out.write(_HEAD)
        for path, seen in sorted(known.items()):
            numbers = b"%d %d %d %d /" % (*seen.near, *seen.far)
            out.write(numbers + path.encode("utf-8", "surrogateescape") + b"\0")
    draft.replace(file)
