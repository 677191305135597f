"""One drill from beginning to end: baselines, interrupted runs, the self-test, the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.drill import compare, evidence, report
from perdure.drill.compare import Difference, Evidence
from perdure.drill.evidence import AttemptEnd
from perdure.drill.plan import Course, Kind, RunPlan, plan_runs, plan_self_test, possible_kinds
from perdure.drill.play import Ends, Stage, play
from perdure.drill.report import DrillReport, Finding, ItemOutcome, RunOutcome
from perdure.errors import DifferenceError, UsageError
from perdure.model.report import Report
from perdure.runtime import names

# Plays one run under the real supervisor and returns how its attempts ended.
Supervised = Callable[[RunPlan, float], tuple[AttemptEnd, ...]]

BASELINES = (RunPlan("baseline-1"), RunPlan("baseline-2"))
BASELINE_LIMIT_S = 6 * 3600.0
LONG_S = 600.0


@dataclass(frozen=True, slots=True)
class Drill:
    """What is drilled, how often, and with what."""

    task: str
    runs: int
    kinds: tuple[Kind, ...]
    self_test: bool
    tolerance: float
    seed: int


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the baselines showed."""

    baseline: Evidence
    course: Course
    nondeterministic: Difference | None
    limit_s: float


def drill(order: Drill, stage: Stage, supervised: Supervised, tell: Report) -> DrillReport:
    """Return what the drill found. Starts processes; writes under `stage.folder`.

    Raises:
        UsageError: the training does not use perdure, or is over before it can be interrupted.
        DifferenceError: it fails even when nobody interrupts it.
    """
    began = time.monotonic()
    ground = _baselines(stage, tell)
    plans = plan_runs(ground.course, order.runs, order.kinds, order.seed)
    items = _items(ground) if order.self_test and ground.nondeterministic is None else {}
    dropped = plan_self_test(ground.course, [item for item, used in items.items() if used])
    _tell_length(ground.course, len(plans) + len(dropped), stage.lanes, tell)
    chosen = _for_the_supervisor(plans)
    others = [plan for plan in plans if plan is not chosen]
    ends = _play_all(stage, [*others, *dropped], ground.limit_s, tell)
    tell("one run under the supervisor itself")
    ends[chosen.name] = supervised(chosen, ground.limit_s)
    runs = [_run_outcome(stage, ground, plan, ends, order.tolerance) for plan in plans]
    return DrillReport(
        task=order.task,
        steps=ground.course.steps,
        weights=ground.baseline.weights,
        metric_rows=len(ground.baseline.metrics),
        runs=tuple(replace(run, supervised=run.name == chosen.name) for run in runs),
        items=_item_outcomes(stage, ground, items, dropped, ends),
        nondeterministic=ground.nondeterministic,
        tolerance=order.tolerance if ground.nondeterministic else None,
        notes=_notes(order, ground),
        folder=stage.folder,
        seconds=time.monotonic() - began,
    )


def _baselines(stage: Stage, tell: Report) -> _Ground:
    ends = play(stage, BASELINES, BASELINE_LIMIT_S, tell, message="two uninterrupted runs")
    for plan in BASELINES:
        last = ends[plan.name][-1]
        if last.code != names.EXIT_DONE:
            raise DifferenceError(
                f"the training fails when nobody interrupts it: {_ended(last)}",
                hint=last_words(stage.folder / plan.name, last.attempt),
            )
    first, second = (stage.folder / plan.name for plan in BASELINES)
    seconds = ends[BASELINES[0].name][-1].seconds
    course = evidence.read_course(first)
    found, again = evidence.read_evidence(first), evidence.read_evidence(second)
    if course is None or found is None or again is None:
        raise UsageError(
            "the training does not use perdure, so it cannot carry on after an interruption",
            hint="docs/tutorial.md shows the five calls that make a training resumable",
        )
    if course.steps < 2:
        raise UsageError(
            f"the training is over after {course.steps} step(s): nothing can be interrupted",
            hint="drill it with more data or more epochs",
        )
    limit_s = max(30.0, 10 * seconds)
    return _Ground(found, course, compare.first_difference(found, again), limit_s)


def _items(ground: _Ground) -> Mapping[str, bool]:
    """Return every item the runtime restores, and whether it changes at all in this training."""
    return compare.changing_items(ground.baseline)


def _tell_length(course: Course, runs: int, lanes: int, tell: Report) -> None:
    # What is done again after a kill, and a start each attempt.
    seconds = 1.5 * course.seconds * runs / lanes
    tell(f"{runs} runs of {course.steps} steps, about {_duration(seconds)}")
    if seconds > LONG_S:
        tell("a drill needs no long training: give it fewer epochs (after `--`), or less data")


def _play_all(
    stage: Stage, plans: Sequence[RunPlan], limit_s: float, tell: Report
) -> dict[str, tuple[AttemptEnd, ...]]:
    if not plans:
        return {}
    return dict(play(stage, plans, limit_s, tell, message="interrupted runs"))


def _for_the_supervisor(plans: Sequence[RunPlan]) -> RunPlan:
    """Return the run with the most different kinds of interruption, a short one if it can be.

    Under the supervisor each attempt imports everything anew.
    """
    short = [plan for plan in plans if len(plan.interruptions) <= 2]
    return max(short or plans, key=lambda plan: len({one.kind for one in plan.interruptions}))


def _run_outcome(
    stage: Stage, ground: _Ground, plan: RunPlan, ends: Ends, tolerance: float
) -> RunOutcome:
    folder = stage.folder / plan.name
    mine = ends[plan.name]
    kinds = tuple(one.kind.value for one in plan.interruptions)
    coverage = evidence.count(ground.course, evidence.read_fired(folder), mine)
    failure = _failure(folder, mine)
    found = None if failure else evidence.read_evidence(folder)
    if found is None:
        failure = failure or "it ended well, but left no finished checkpoint"
        return RunOutcome(plan.name, kinds, coverage, failure=failure)
    return RunOutcome(plan.name, kinds, coverage, _compared(ground, found, tolerance))


def _compared(ground: _Ground, found: Evidence, tolerance: float) -> Difference | None:
    if ground.nondeterministic is None:
        return compare.first_difference(ground.baseline, found)
    return compare.metric_difference(ground.baseline.metrics, found.metrics, tolerance)


def _failure(folder: Path, ends: Sequence[AttemptEnd]) -> str | None:
    last = ends[-1]
    if last.code == names.EXIT_DONE:
        return None
    return f"attempt {last.attempt} {_ended(last)}: {last_words(folder, last.attempt) or 'silent'}"


def _ended(end: AttemptEnd) -> str:
    if end.hung:
        return f"was still busy after {_duration(end.seconds)} and was killed"
    if end.code < 0:
        return f"was killed by signal {-end.code}"
    return f"ended with exit code {end.code}"


def last_words(folder: Path, attempt: int) -> str | None:
    """Return the last line of an attempt's log, None where it wrote nothing."""
    log = folder / names.LOGS / names.numbered(attempt, ".log")
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), None)


def _item_outcomes(
    stage: Stage,
    ground: _Ground,
    items: Mapping[str, bool],
    plans: Sequence[RunPlan],
    ends: Ends,
) -> tuple[ItemOutcome, ...]:
    played = {plan.drop[0]: plan for plan in plans}
    return tuple(
        _item_outcome(stage, ground, played[item], ends)
        if used
        else ItemOutcome(item, Finding.UNUSED, reason=_why_unused(item))
        for item, used in items.items()
    )


def _why_unused(item: str) -> str:
    return "never drawn from" if item.startswith("rng.") else "never changes"


def _item_outcome(stage: Stage, ground: _Ground, plan: RunPlan, ends: Ends) -> ItemOutcome:
    item = plan.drop[0]
    folder = stage.folder / plan.name
    mine = ends[plan.name]
    if _failure(folder, mine) is not None:
        fails = Difference("the training fails", None, "", "", mine[-1].attempt)
        return ItemOutcome(item, Finding.SEEN, fails, in_result=True)
    if len(mine) < 2:
        return ItemOutcome(item, Finding.UNSEEN, reason="its run ended before it was interrupted")
    found = evidence.read_evidence(folder)
    difference = compare.first_difference(ground.baseline, found) if found else None
    if found is None or difference is None:
        reason = "it makes no difference, or is restored by something else"
        return ItemOutcome(item, Finding.UNSEEN, reason=reason)
    in_result = compare.differs_in_result(ground.baseline, found)
    return ItemOutcome(item, Finding.SEEN, difference, in_result=in_result)


def _notes(order: Drill, ground: _Ground) -> tuple[str, ...]:
    notes = []
    if len(possible_kinds(ground.course, order.kinds)) < len(order.kinds):
        notes.append("nothing goes through run.poll(): no interruption in an evaluation")
    if ground.nondeterministic is not None and order.self_test:
        notes.append("no self-test: it needs a training that ends alike each time")
    return tuple(notes)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


__all__ = ["Drill", "Supervised", "drill", "last_words", "report"]
