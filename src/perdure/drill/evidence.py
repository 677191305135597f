"""What a run folder says about a run: its result, its metrics, its traces, what was fired."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.drill.compare import Evidence, MetricRow, TraceRow
from perdure.drill.plan import Course
from perdure.drill.report import Coverage
from perdure.runtime import names
from perdure.runtime.metrics import read_rows
from perdure.runtime.result import read_result

_FIRED = ".fired.jsonl"
_POINTS = ".points.jsonl"


@dataclass(frozen=True, slots=True)
class Fired:
    """One action, as the probe wrote it down before it fired it."""

    generation: int
    point: str
    step: int
    what: str


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How one attempt ended: its exit code, or minus the signal that ended it."""

    attempt: int
    code: int
    seconds: float
    hung: bool = False


def read_evidence(folder: Path) -> Evidence | None:
    """Return what the run left behind, None where it has no finished result."""
    result = read_result(os.fspath(folder))
    if result is None or not result.complete:
        return None
    return Evidence(
        step=result.step,
        weights=result.weights,
        tensors={**result.tensors, "other values": result.tree},
        metrics=tuple(read_rows(os.fspath(folder))),
        traces=read_traces(folder),
    )


def read_traces(folder: Path) -> tuple[tuple[TraceRow, ...], ...]:
    """Return the trace of each attempt, in their order."""
    traces = folder / names.TRACE
    if not traces.is_dir():
        return ()
    paths = sorted(path for path in traces.glob("*.jsonl") if path.stem.isdigit())
    return tuple(tuple(_trace_row(row) for row in _rows(path)) for path in paths)


def read_fired(folder: Path) -> tuple[Fired, ...]:
    """Return what was fired in this run, in order."""
    paths = sorted((folder / names.TRACE).glob(f"*{_FIRED}"))
    return tuple(
        Fired(
            int(path.name.removesuffix(_FIRED)),
            str(row["point"]),
            _whole(row["step"]),
            str(row["what"]),
        )
        for path in paths
        for row in _rows(path)
    )


def read_course(folder: Path) -> Course | None:
    """Return what an uninterrupted traced run passed, None where perdure took no part in it."""
    paths = sorted((folder / names.TRACE).glob(f"*{_POINTS}"))
    notes = _rows(paths[-1]) if paths else []
    if not notes:
        return None
    points = {
        point: tuple(_whole(step) for step in steps)
        for point, steps in notes[-1].items()
        if isinstance(steps, list)
    }
    steps = max((step for at in points.values() for step in at), default=0)
    starts = _epoch_starts(points, read_rows(os.fspath(folder)))
    return Course(steps, starts, points, float(str(notes[-1]["seconds"])))


def count(course: Course, fired: Sequence[Fired], ends: Sequence[AttemptEnd]) -> Coverage:
    """Return what really was interrupted: attempts that something was fired in, and that ended."""
    coverage = Coverage()
    for end in ends:
        mine = [one for one in fired if one.generation == end.attempt]
        if not mine or end.code == names.EXIT_DONE:
            continue
        in_save = any(one.point.startswith("save-") for one in mine)
        # An evaluation stands between two epochs, whatever its step count says.
        middle = any(one.point != "eval" and course.is_mid_epoch(one.step) for one in mine)
        coverage += Coverage(1, int(middle), int(in_save))
    return coverage


def _epoch_starts(
    points: Mapping[str, tuple[int, ...]], rows: Sequence[MetricRow]
) -> tuple[int, ...]:
    """Return the steps done when an epoch began, from the points or else from the metrics."""
    if "epoch" in points:
        return tuple(sorted({*points["epoch"]}))
    last: dict[int, int] = {}
    for row in rows:
        if isinstance(row.get("epoch"), int) and isinstance(row.get("step"), int):
            epoch = _whole(row["epoch"])
            last[epoch] = max(last.get(epoch, 0), _whole(row["step"]))
    return (0, *(last[epoch] for epoch in sorted(last)[:-1]))


def _trace_row(row: Mapping[str, object]) -> TraceRow:
    digests = row["digests"]
    assert isinstance(digests, dict)
    return TraceRow(str(row["kind"]), _whole(row["step"]), digests)


def _rows(path: Path) -> list[dict[str, object]]:
    """Return the whole lines; a last one that was cut is none."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def _whole(value: object) -> int:
    return int(str(value))
