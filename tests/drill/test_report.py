"""The words of a drill, read as a user reads them."""

from __future__ import annotations

from pathlib import Path

from perdure.drill.compare import Difference
from perdure.drill.report import (
    Coverage,
    DrillReport,
    Finding,
    ItemOutcome,
    RunOutcome,
    describe,
    lines,
    summary,
)

GOOD = RunOutcome("run-001", ("term", "kill"), Coverage(2, 2, 0))
SAVED = RunOutcome("run-002", ("mid-save",), Coverage(1, 0, 1))
BATCH = Difference("batch", 41, "0" * 32, "f" * 32, attempt=2)


def drill(*runs: RunOutcome, items: tuple[ItemOutcome, ...] = ()) -> DrillReport:
    return DrillReport("train", 138, "abcd", 144, runs, items)


def test_a_good_drill_is_one_line() -> None:
    report = drill(GOOD, SAVED)
    assert lines(report) == ["2/2 bit-exact; 3 interruptions, 2 mid-epoch, 1 inside a save"]
    assert report.passed


def test_one_interruption_is_not_plural() -> None:
    assert summary(drill(SAVED)) == "1/1 bit-exact; 1 interruption, 0 mid-epoch, 1 inside a save"


def test_a_drill_without_runs_proves_nothing() -> None:
    assert not drill().passed


def test_the_first_difference_is_told_with_what_the_run_went_through() -> None:
    bad = RunOutcome("run-003", ("term", "startup"), Coverage(2, 1, 0), BATCH)
    report = drill(GOOD, bad)
    assert not report.passed
    told = lines(report)
    assert told[0].startswith("1/2 bit-exact; 4 interruptions")
    assert told[1] == (
        "  run-003: batch differs at step 41 in attempt 2: 0000000000000000 in the baseline, "
        "ffffffffffffffff here (through term, startup)"
    )


def test_a_run_that_hung_is_told() -> None:
    bad = RunOutcome("run-003", (), Coverage(), failure="attempt 2 was still busy after 30 s")
    assert "  run-003: attempt 2 was still busy after 30 s" in lines(drill(bad))


def test_a_difference_at_the_end_has_no_step() -> None:
    assert describe(Difference("weights", None, "", "")) == "weights differs at the end"


def test_the_self_test_is_a_table_and_a_verdict() -> None:
    items = (
        ItemOutcome("model", Finding.SEEN, Difference("model", 56, "a", "b", 2), in_result=True),
        ItemOutcome("rng.python", Finding.UNUSED, reason="never drawn from"),
        ItemOutcome("metrics", Finding.SEEN, Difference("metric rows", None, "", "")),
    )
    report = drill(GOOD, items=items)
    assert report.passed
    assert lines(report)[1:] == [
        "",
        "left out    seen at step  what differed first  result",
        "model       56            model                differs",
        "rng.python  -             never drawn from     same",
        "metrics     end           metric rows          same",
        "self-test: 2/2 of what is tracked cannot be lost unseen",
    ]


def test_an_item_that_can_be_lost_unseen_fails_the_drill() -> None:
    lost = ItemOutcome("schedule", Finding.UNSEEN, reason="it was restored all the same")
    report = drill(GOOD, items=(lost,))
    assert not report.passed
    assert lines(report)[-2:] == [
        "self-test: 0/1 of what is tracked cannot be lost unseen",
        "self-test failed: without `schedule` nothing differs: it was restored all the same",
    ]


def test_a_nondeterministic_training_is_compared_within_a_tolerance() -> None:
    report = DrillReport(
        task="train",
        steps=10,
        weights="x",
        metric_rows=10,
        runs=(GOOD,),
        nondeterministic=Difference("model", 7, "a", "b"),
        tolerance=1e-5,
        notes=("no evaluation loop goes through run.poll()",),
        folder=Path("/tmp/drill"),
    )
    assert lines(report) == [
        "two uninterrupted trainings differ: model differs at step 7: a in the baseline, b here",
        "so the metrics are compared within 1e-05, and the weights are not",
        "1/1 within 1e-05; 2 interruptions, 2 mid-epoch, 0 inside a save",
        "note: no evaluation loop goes through run.poll()",
        "run folders: /tmp/drill",
    ]
