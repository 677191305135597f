"""Whether two runs of a training are the same, and what differed first where they are not.

Pure: the values come from the run folders (perdure.drill.evidence reads them).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MetricRow = Mapping[str, object]
_Expected = dict[tuple[str, int], list[Mapping[str, str]]]

# What differs at one step is named in this order: a cause before its effects.
_CAUSES = ("batch", "rng.", "position", "metrics")


@dataclass(frozen=True, slots=True)
class TraceRow:
    """What a training saw at one step: the digest of each item."""

    kind: str
    step: int
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one run left behind: its result, its metrics, and what each of its attempts saw."""

    step: int
    weights: str
    tensors: Mapping[str, str]
    metrics: tuple[MetricRow, ...]
    traces: tuple[tuple[TraceRow, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that differs: at which step, what, and in which attempt it was seen.

    `also`: what else differs at that very step, which is likely to be its effect.
    """

    what: str
    step: int | None
    expected: str
    found: str
    attempt: int | None = None
    also: tuple[str, ...] = ()


def first_difference(baseline: Evidence, other: Evidence) -> Difference | None:
    """Return what differed first, None where everything is the same, bit for bit.

    The trace is the finest witness: every row of every attempt, those that were done again too.
    """
    traced = _traced(baseline, other)
    found = min(traced, key=_when, default=None)
    return found or _metrics_differ(baseline.metrics, other.metrics) or _result(baseline, other)


def differs_in_result(baseline: Evidence, other: Evidence) -> bool:
    """Return whether the end differs: the weights, any other state, or a metric."""
    metrics = _metrics_differ(baseline.metrics, other.metrics)
    return metrics is not None or _result(baseline, other) is not None


def metric_difference(
    baseline: Sequence[MetricRow], other: Sequence[MetricRow], tolerance: float
) -> Difference | None:
    """Return the first metric further off than the tolerance (relative, absolute below 1)."""
    return _metrics_differ(baseline, other, tolerance)


def changing_items(evidence: Evidence) -> dict[str, bool]:
    """Return for each item of the trace whether it ever changed during the training."""
    seen: dict[str, set[str]] = {}
    for trace in evidence.traces:
        for row in trace:
            if row.kind == "boundary":
                for item, digest in row.digests.items():
                    seen.setdefault(item, set()).add(digest)
    return {item: len(digests) > 1 for item, digests in seen.items()}


def _traced(baseline: Evidence, other: Evidence) -> Iterable[Difference]:
    expected: _Expected = {}
    for trace in baseline.traces:
        for row in trace:
            expected.setdefault((row.kind, row.step), []).append(row.digests)
    for attempt, trace in enumerate(other.traces, start=1):
        for row in trace:
            wanted = _wanted(expected, row)
            # Without a counterpart, what was restored shows in the rows after it.
            if not wanted and row.kind == "restored":
                continue
            found = _row_differs(wanted, row, attempt)
            if found is not None:
                yield found
                # What follows in this attempt follows from it.
                break


def _wanted(expected: _Expected, row: TraceRow) -> Sequence[Mapping[str, str]]:
    """Return the baseline's rows that a row may be equal to.

    An uninterrupted run restores nothing: what was restored in the middle of an epoch has to be
    what the baseline had at that boundary. That names what was lost before it has any effect. At
    another place, such as an evaluation, the training may have gone on since its last boundary.
    """
    if row.kind != "restored":
        return expected.get((row.kind, row.step), [])
    place = row.digests.get("position")
    boundaries = expected.get(("boundary", row.step), [])
    return [digests for digests in boundaries if digests.get("position") == place]


def _row_differs(
    expected: Sequence[Mapping[str, str]], row: TraceRow, attempt: int
) -> Difference | None:
    if row.digests in expected:
        return None
    if not expected:
        return Difference(f"a {row.kind} that the baseline has not", row.step, "", "", attempt)
    wanted = expected[-1]
    items = [
        item for item in {**wanted, **row.digests} if wanted.get(item) != row.digests.get(item)
    ]
    # Those of one rank stay in the order in which they were tracked.
    first, *others = sorted(items, key=_cause)
    values = (wanted.get(first, "nothing"), row.digests.get(first, "nothing"))
    return Difference(first, row.step, *values, attempt, tuple(others))


def _cause(item: str) -> int:
    known = (number for number, cause in enumerate(_CAUSES) if item.startswith(cause))
    return next(known, len(_CAUSES))


def _when(difference: Difference) -> tuple[int, int]:
    return difference.step or 0, _cause(difference.what)


def _metrics_differ(
    baseline: Sequence[MetricRow], other: Sequence[MetricRow], tolerance: float = 0.0
) -> Difference | None:
    for wanted, row in zip(baseline, other, strict=False):
        for key in {**wanted, **row}:
            if not _same(wanted.get(key), row.get(key), tolerance):
                return Difference(
                    f"metric {key}", _step(wanted), _text(wanted.get(key)), _text(row.get(key))
                )
    if len(baseline) != len(other):
        longer = max(baseline, other, key=len)
        step = _step(longer[min(len(baseline), len(other))])
        return Difference("metric rows", step, f"{len(baseline)} rows", f"{len(other)} rows")
    return None


def _same(wanted: object, found: object, tolerance: float) -> bool:
    if tolerance > 0 and _is_number(wanted) and _is_number(found):
        left, right = float(str(wanted)), float(str(found))
        if math.isfinite(left) and math.isfinite(right):
            return abs(left - right) <= tolerance * max(1.0, abs(left), abs(right))
    # By their text: NaN equals NaN, and -0.0 is not 0.0.
    return _text(wanted) == _text(found)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _step(row: MetricRow) -> int | None:
    step = row.get("step")
    return step if isinstance(step, int) else None


def _result(baseline: Evidence, other: Evidence) -> Difference | None:
    if baseline.step != other.step:
        return Difference("the last step", None, str(baseline.step), str(other.step))
    for path in sorted({**baseline.tensors, **other.tensors}):
        wanted, found = baseline.tensors.get(path), other.tensors.get(path)
        if wanted != found:
            return Difference(path, baseline.step, wanted or "nothing", found or "nothing")
    if baseline.weights != other.weights:
        return Difference("weights", baseline.step, baseline.weights, other.weights)
    return None
