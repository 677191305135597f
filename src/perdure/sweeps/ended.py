"""What trials came to, in one file of the sweep: an index over run folders, one line a trial.

It is read instead of ten thousand folders, and believed only where its attempt is the job's newest.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.jobs import folder as folders
from perdure.model.job import JobRecord, State
from perdure.runtime import names
from perdure.runtime.metrics import read_rows
from perdure.sweeps.record import ENDED_FILE

if TYPE_CHECKING:
    from perdure.sweeps.pool import Rest

#: What programs end with whose arguments make no sense: argparse, click, absl.
USAGE_ERROR = 2
MOST_USAGE_ERRORS = 3
_NO_METRICS = ("step", "epoch")
_STATES = frozenset(state.value for state in State)


@dataclass(frozen=True, slots=True)
class Figures:
    """One metric of a trial: its last value, its lowest and its highest."""

    last: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """How a trial's newest attempt ended. `code` is the job's, `metrics` in order of appearance."""

    trial: int
    attempt: int
    state: str
    code: int | None = None
    reason: str = ""
    durable_step: int | None = None
    metrics: Mapping[str, Figures] = field(default_factory=dict)


class Complaints:
    """Counts the first trials as long as all of them complain about their arguments."""

    def __init__(self) -> None:
        self._count = 0

    def over(self) -> None:
        """Take in that a trial has succeeded: its arguments make sense."""
        self._count = -1

    def heard(self, row: Row, doubt: str) -> str:
        """Return why there need be no more trials, "" where there may be."""
        if row.code != USAGE_ERROR or self._count < 0:
            self._count = -1
            return ""
        self._count += 1
        if self._count < MOST_USAGE_ERRORS:
            return ""
        why = f"its first {self._count} trials ended with a usage error (exit code {USAGE_ERROR})"
        return f"{why}: {doubt}" if doubt else why


def looked(record: JobRecord, trial: int, rest: Rest) -> Row:
    """Return the same as `look`, of a job whose end was told of. Reads its metrics."""
    if rest.state != State.SUCCEEDED.value:
        return look(record, trial)
    metrics = figures_in(record.folder)
    return Row(trial, rest.attempt, rest.state, rest.code, rest.reason, metrics=metrics)


def look(record: JobRecord, trial: int) -> Row:
    """Return how a job that runs no more stands, and its metrics. Reads its run folder."""
    folder = record.folder
    attempt = max(folders.attempts(folder), default=0)
    events = folders.read_events(folder, attempt, last_step_only=True) if attempt else []
    last = events[-1] if events else None
    exited = next((event for event in reversed(events) if event.name == "exited"), None)
    if last is None or last.name != "ended" or last.text("state") not in _STATES:
        state = State.LOST if attempt else State.QUEUED
        return Row(trial, attempt, state.value)
    return Row(
        trial,
        attempt,
        last.text("state"),
        last.number("code"),
        last.text("reason"),
        exited.number("durable_step") if exited else None,
        figures_in(folder),
    )


def figures_in(folder: Path) -> dict[str, Figures]:
    """Return the numbers that a job logged, by metric. Reads its run folder."""
    if not os.path.isdir(folder / names.METRICS):  # noqa: PTH112 - of each of thousands
        return {}
    try:
        rows = read_rows(os.fspath(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found: dict[str, Figures] = {}
    for row in rows:
        for name, value in row.items():
            number = None if name in _NO_METRICS else _number(value)
            if number is None:
                continue
            before = found.get(name)
            if before is None:
                found[name] = Figures(number, number, number)
            else:
                low, high = min(before.low, number), max(before.high, number)
                found[name] = Figures(number, low, high)
    return found


class Index:
    """Appends to the index. It is an index only: what a disk does not take is left out."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ENDED_FILE
        self._fd = -1
        self._torn = True

    def add(self, row: Row) -> None:
        """Append a row. Touches the disk."""
        line = json.dumps(_values(row)).encode() + b"\n"
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if self._torn:  # perhaps by a driver before this one
                line = b"\n" + line
            self._torn = os.write(self._fd, line) < len(line)
        except OSError:
            self._torn = True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _values(row: Row) -> dict[str, object]:
    # As `dataclasses.asdict` would, in a tenth of its time.
    known = {name: getattr(row, name) for name in Row.__slots__}
    return {**known, "metrics": {name: asdict(each) for name, each in row.metrics.items()}}


def read_index(folder: Path) -> dict[int, Row]:
    """Return the newest row of each trial. Reads the disk; a torn line is left out."""
    import msgspec

    try:
        lines = (folder / ENDED_FILE).read_bytes().split(b"\n")
    except OSError:
        return {}
    decoder = msgspec.json.Decoder(Row)
    found: dict[int, Row] = {}
    for line in lines:
        try:
            row = decoder.decode(line)
        except msgspec.MsgspecError:
            continue
        found[row.trial] = row
    return found


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None
