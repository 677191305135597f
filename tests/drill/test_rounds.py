"""The rounds of small real trainings: good ones pass, planted faults are caught and named."""

from __future__ import annotations

import dataclasses

import pytest

from perdure.drill.evidence import AttemptEnd
from perdure.drill.plan import Kind, RunPlan
from perdure.drill.play import Stage, play
from perdure.drill.report import DrillReport, Finding, lines
from perdure.drill.rounds import Drill, drill
from perdure.errors import DifferenceError, UsageError
from perdure.model.report import silent
from tests.drill.conftest import TRAINING, SetStage

EVERYTHING = Drill("train", 7, tuple(Kind), self_test=False, tolerance=1e-5, seed=1)


def run_drill(ready: Stage, order: Drill = EVERYTHING) -> DrillReport:
    def under_supervisor(plan: RunPlan, limit_s: float) -> tuple[AttemptEnd, ...]:
        return play(ready, [plan], limit_s, silent, message="")[plan.name]

    return drill(order, ready, under_supervisor, silent)


def test_a_good_training_passes_with_its_self_test(stage: SetStage) -> None:
    ready = stage(TRAINING.replace("FAULT", "pass"))
    report = run_drill(ready, dataclasses.replace(EVERYTHING, self_test=True))
    assert report.passed, "\n".join(lines(report))
    assert report.steps == 30
    assert report.metric_rows == 33
    assert report.coverage.interruptions >= 7
    assert report.coverage.mid_epoch > report.coverage.interruptions / 2
    assert report.coverage.in_save >= 1
    findings = {item.item: item.finding for item in report.items}
    assert findings["weights"] is Finding.SEEN
    assert findings["rng.python"] is Finding.SEEN
    assert findings["position"] is Finding.SEEN
    assert findings["metrics"] is Finding.SEEN
    assert sum(run.supervised for run in report.runs) == 1


def test_a_forgotten_accumulator_is_caught_and_named(stage: SetStage) -> None:
    ready = stage(TRAINING.replace("FAULT", "lost += 1; weights['w'] += 0.001 * lost"))
    report = run_drill(ready)
    assert not report.passed
    bad = next(run for run in report.runs if run.difference)
    assert bad.difference is not None
    assert bad.difference.what == "weights"
    assert bad.difference.attempt == 2
    assert "weights" in lines(report)[1]


def test_a_generator_of_its_own_that_is_not_tracked_is_caught(stage: SetStage) -> None:
    report = run_drill(stage(TRAINING.replace("FAULT", "weights['w'] += own.random()")))
    assert not report.passed
    assert report.nondeterministic is None


def test_an_unseeded_generator_is_named_before_anything_is_interrupted(stage: SetStage) -> None:
    code = TRAINING.replace("random.Random(1)", "random.Random()")
    ready = stage(code.replace("FAULT", "weights['w'] += 0.1 * own.random() * (run.step > 11)"))
    report = run_drill(ready, dataclasses.replace(EVERYTHING, self_test=True))
    assert report.nondeterministic is not None
    assert report.nondeterministic.what == "weights"
    assert report.nondeterministic.step == 13
    assert not report.passed
    assert report.items == ()
    assert any(note.startswith("no self-test") for note in report.notes)


def test_what_differs_within_the_tolerance_passes_and_says_so(stage: SetStage) -> None:
    code = TRAINING.replace("random.Random(1)", "random.Random()")
    report = run_drill(stage(code.replace("FAULT", "weights['w'] += 1e-12 * own.random()")))
    assert report.nondeterministic is not None
    assert report.passed, "\n".join(lines(report))
    assert "7/7 within 1e-05" in "\n".join(lines(report))


def test_an_item_that_is_put_back_by_something_else_fails_the_self_test(stage: SetStage) -> None:
    # `again` sees what `weights` holds, so that neither is missed when it is left out.
    code = TRAINING.replace("FAULT", "pass").replace(
        "run.track(weights=weights)",
        "run.track(weights=weights, again=(lambda: dict(weights), weights.update))",
    )
    report = run_drill(stage(code), dataclasses.replace(EVERYTHING, runs=1, self_test=True))
    assert not report.passed
    unseen = {item.item for item in report.items if item.finding is Finding.UNSEEN}
    assert unseen == {"weights", "again"}


def test_what_never_changes_is_said_to_be_unused(stage: SetStage) -> None:
    code = TRAINING.replace("random.random() *", "").replace("FAULT", "pass")
    report = run_drill(stage(code), dataclasses.replace(EVERYTHING, runs=1, self_test=True))
    assert report.passed
    python = next(item for item in report.items if item.item == "rng.python")
    assert (python.finding, python.reason) == (Finding.UNUSED, "never drawn from")


def test_a_training_that_does_not_use_perdure_is_told(stage: SetStage) -> None:
    with pytest.raises(UsageError, match="does not use perdure") as caught:
        run_drill(stage("print('trained')"))
    assert caught.value.hint is not None
    assert "docs/" in caught.value.hint


def test_a_training_that_fails_by_itself_is_told_in_its_own_words(stage: SetStage) -> None:
    with pytest.raises(DifferenceError, match="fails when nobody interrupts it") as caught:
        run_drill(stage("raise ValueError('no such column: `age`')"))
    assert caught.value.hint == "ValueError: no such column: `age`"


def test_a_training_of_one_step_is_told(stage: SetStage) -> None:
    code = TRAINING.replace("range(40)), batch_size=4", "range(4)), batch_size=4")
    code = code.replace("run.epochs(3)", "run.epochs(1)").replace("FAULT", "pass")
    with pytest.raises(UsageError, match="over after 1 step"):
        run_drill(stage(code))


def test_a_training_that_cannot_be_resumed_fails_its_runs(stage: SetStage) -> None:
    code = "import os\nassert os.environ['PERDURE_ATTEMPT'] == '1', 'cannot go on'\n" + TRAINING
    report = run_drill(stage(code.replace("FAULT", "pass")))
    assert not report.passed
    failures = [run.failure for run in report.runs if run.failure]
    assert failures
    assert "cannot go on" in failures[0]
