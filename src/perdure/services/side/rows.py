"""The metrics of a job, followed while they are written: each row once, in order.

The format is that of `perdure.runtime.metrics`: a segment begins with the segments before it, and
how many bytes of each count. What an interrupted attempt logged beyond that is logged again.

Standard library only, Python 3.9 or newer: this is brought to other hosts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
Chain = list[tuple[str, int]]
_BLOCK = 1 << 22


class Fresh(NamedTuple):
    """What has come: rows with their times, after those `again` have been taken back.

    `again`: rows told before do not count any more; all that do are in `rows`.
    """

    again: bool
    rows: list[tuple[float, Row]]


class Follower:
    """The rows of one run folder, from where it was last asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # How far each segment has been told.
        self._told: dict[str, int] = {}

    def fresh(self) -> Fresh:
        """Return what has come since the last time. Reads the disk."""
        segments = sorted(self._folder.glob("*.jsonl"))
        chain = next((c for c in map(_chain_of, reversed(segments)) if c is not None), [])
        # What was told and does not count is not among what counts, or beyond its end.
        counted = dict(chain)
        again = any(
            name not in counted or -1 < counted[name] < told for name, told in self._told.items()
        )
        if again:
            self._told = {}
        rows: list[tuple[float, Row]] = []
        for name, end in chain:
            rows += self._rows_of(name, end)
        return Fresh(again, rows)

    def _rows_of(self, name: str, end: int) -> Iterator[tuple[float, Row]]:
        path = self._folder / name
        try:
            with path.open("rb") as file:
                file.seek(self._told.get(name, 0))
                data = file.read(_BLOCK if end < 0 else end - file.tell())
                moment = path.stat().st_mtime
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._told[name] = self._told.get(name, 0) + len(whole)
        for line in whole.splitlines():
            row = json.loads(line)
            if "perdure" not in row:
                yield moment, row


def _chain_of(path: Path) -> Chain | None:
    """Return the segments that count where this is the newest, itself last with -1: all of it.

    None: it does not begin with a header yet, so it is nothing yet.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    if not isinstance(header, dict) or "perdure" not in header:
        return None
    return [*((str(name), int(count)) for name, count in header["chain"]), (path.name, -1)]
