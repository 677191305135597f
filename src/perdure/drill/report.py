"""What a drill says when it is over: pure text from what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from perdure.drill.compare import Difference


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was interrupted, counted from what the probes wrote down before they fired."""

    interruptions: int = 0
    mid_epoch: int = 0
    in_save: int = 0

    def __add__(self, other: Coverage) -> Coverage:
        """Return both together."""
        return Coverage(
            self.interruptions + other.interruptions,
            self.mid_epoch + other.mid_epoch,
            self.in_save + other.in_save,
        )


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How one run of a drill ended: a difference, a failure, or neither."""

    name: str
    interruptions: tuple[str, ...]
    coverage: Coverage
    difference: Difference | None = None
    failure: str | None = None
    supervised: bool = False

    @property
    def same(self) -> bool:
        """Return whether it ended as the baseline did."""
        return self.difference is None and self.failure is None


class Finding(Enum):
    """What the self-test says of one item."""

    SEEN = "seen"
    UNSEEN = "unseen"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What leaving one item out of a restore did."""

    item: str
    finding: Finding
    difference: Difference | None = None
    in_result: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DrillReport:
    """All of a drill. `nondeterministic`: where the baselines part, if they do."""

    task: str
    steps: int
    weights: str
    metric_rows: int
    runs: tuple[RunOutcome, ...]
    items: tuple[ItemOutcome, ...] = ()
    nondeterministic: Difference | None = None
    tolerance: float | None = None
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    seconds: float = 0.0

    @property
    def coverage(self) -> Coverage:
        """Return what all runs together were put through."""
        return sum((run.coverage for run in self.runs), Coverage())

    @property
    def passed(self) -> bool:
        """Return whether every run ended alike, and no item can be lost unseen."""
        runs = bool(self.runs) and all(run.same for run in self.runs)
        return runs and all(item.finding is not Finding.UNSEEN for item in self.items)


def lines(report: DrillReport) -> list[str]:
    """Return the report, line by line."""
    told = [*_nondeterminism(report), summary(report)]
    told += [f"  {line}" for run in report.runs if not run.same for line in _failed_run(run)]
    told += self_test_lines(report.items)
    told += [f"note: {note}" for note in report.notes]
    if report.folder is not None:
        told.append(f"run folders: {report.folder}")
    return told


def summary(report: DrillReport) -> str:
    """Return the one line that counts."""
    same = sum(run.same for run in report.runs)
    exact = report.nondeterministic is None
    how = "bit-exact" if exact else f"within {report.tolerance:g}"
    coverage = report.coverage
    return (
        f"{same}/{len(report.runs)} {how}; {_count(coverage.interruptions, 'interruption')}, "
        f"{coverage.mid_epoch} mid-epoch, {coverage.in_save} inside a save"
    )


def describe(difference: Difference) -> str:
    """Return what differed and where, in one line."""
    where = f"at step {difference.step}" if difference.step is not None else "at the end"
    attempt = f" in attempt {difference.attempt}" if difference.attempt is not None else ""
    values = ""
    if difference.expected or difference.found:
        values = f": {_short(difference.expected)} in the baseline, {_short(difference.found)} here"
    return f"{_named(difference)} differs {where}{attempt}{values}"


def self_test_lines(items: Sequence[ItemOutcome]) -> list[str]:
    """Return the table of the self-test and its verdict, nothing where there was none."""
    if not items:
        return []
    head = ("left out", "seen at step", "what differed first", "result")
    rows = [head, *(_item_row(item) for item in items)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    tried = [item for item in items if item.finding is not Finding.UNUSED]
    seen = sum(item.finding is Finding.SEEN for item in tried)
    verdict = f"self-test: {seen}/{len(tried)} of what is tracked cannot be lost unseen"
    unseen = [
        f"self-test failed: without `{item.item}` nothing differs: {item.reason}"
        for item in items
        if item.finding is Finding.UNSEEN
    ]
    return ["", *table, verdict, *unseen]


def _named(difference: Difference) -> str:
    """Return what differed first, and with it."""
    others = len(difference.also)
    shown = difference.also if others <= 2 else (*difference.also[:1], f"{others - 1} more")
    return difference.what + (f" (with {', '.join(shown)})" if shown else "")


def _item_row(item: ItemOutcome) -> tuple[str, str, str, str]:
    if item.difference is None:
        return (item.item, "-", item.reason, "same")
    step = "end" if item.difference.step is None else str(item.difference.step)
    return (item.item, step, _named(item.difference), "differs" if item.in_result else "same")


def _nondeterminism(report: DrillReport) -> list[str]:
    found = report.nondeterministic
    if found is None:
        return []
    return [
        f"two uninterrupted trainings differ: {describe(found)}",
        f"so the metrics are compared within {report.tolerance:g}, and the weights are not",
    ]


def _failed_run(run: RunOutcome) -> list[str]:
    through = f" (through {', '.join(run.interruptions)})" if run.interruptions else ""
    what = run.failure or (describe(run.difference) if run.difference else "")
    return [f"{run.name}: {what}{through}"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:16]
