"""What differed first, from values: a cause is named before its effects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure.drill.compare import (
    Evidence,
    MetricRow,
    TraceRow,
    changing_items,
    differs_in_result,
    first_difference,
    metric_difference,
)


def boundary(step: int, **digests: str) -> TraceRow:
    usual = {"rng.torch": f"t{step}", "position": f"p{step}", "metrics": f"m{step}"}
    usual |= {"model": f"w{step}", "optimizer": f"o{step}"}
    return TraceRow("boundary", step, usual | digests)


def restored(step: int, **digests: str) -> TraceRow:
    return TraceRow("restored", step, boundary(step, **digests).digests)


def batch(step: int, digest: str = "") -> TraceRow:
    return TraceRow("batch", step, {"batch": digest or f"b{step}"})


def trace(first: int, last: int) -> tuple[TraceRow, ...]:
    return tuple(row for step in range(first, last) for row in (batch(step), boundary(step + 1)))


ROWS: tuple[MetricRow, ...] = tuple({"step": step, "loss": 1.0 / step} for step in range(1, 11))
BASELINE = Evidence(10, "abc", {"model/weight": "aa", "optimizer/0": "bb"}, ROWS, (trace(0, 10),))


def interrupted(*attempts: tuple[TraceRow, ...]) -> Evidence:
    return replace(BASELINE, traces=attempts)


def test_an_interrupted_run_that_did_the_same_differs_in_nothing() -> None:
    other = interrupted(trace(0, 4), (restored(3), *trace(3, 10)))
    assert first_difference(BASELINE, other) is None
    assert not differs_in_result(BASELINE, other)


def test_the_cause_is_named_before_its_effects() -> None:
    wrong = boundary(5, model="?", optimizer="?", metrics="?", **{"rng.torch": "?"})
    other = interrupted((*trace(0, 4), batch(4), wrong, boundary(6, model="??")))
    found = first_difference(BASELINE, other)
    assert found is not None
    assert (found.what, found.step, found.attempt) == ("rng.torch", 5, 1)
    assert (found.expected, found.found) == ("t5", "?")


def test_a_wrong_batch_comes_first() -> None:
    other = interrupted(trace(0, 4), (batch(4, "other"), boundary(5, model="?")))
    found = first_difference(BASELINE, other)
    assert found is not None
    assert (found.what, found.step, found.attempt) == ("batch", 4, 2)


def test_rows_that_were_done_again_are_compared_too() -> None:
    lost = (*trace(0, 6), batch(6), boundary(7, optimizer="?"))
    found = first_difference(BASELINE, interrupted(lost, trace(5, 10)))
    assert found is not None
    assert (found.what, found.step, found.attempt) == ("optimizer", 7, 1)


def test_what_was_not_restored_is_named_before_it_has_effects() -> None:
    wrong = boundary(4, model="?", optimizer="?")
    other = interrupted(trace(0, 3), (restored(3, optimizer="?"), batch(3), wrong))
    found = first_difference(BASELINE, other)
    assert found is not None
    assert (found.what, found.step, found.attempt, found.also) == ("optimizer", 3, 2, ())


def test_what_was_restored_in_an_evaluation_has_no_counterpart() -> None:
    other = interrupted((restored(3, position="evaluation", model="later"), *trace(3, 10)))
    assert first_difference(BASELINE, other) is None


def test_the_earliest_step_of_all_attempts_is_named() -> None:
    other = interrupted((boundary(9, model="?"),), (boundary(3, model="?"),))
    found = first_difference(BASELINE, other)
    assert found is not None
    assert (found.step, found.attempt) == (3, 2)


def test_a_step_too_many_is_a_difference() -> None:
    found = first_difference(BASELINE, interrupted(trace(0, 11)))
    assert found is not None
    assert found.what == "a batch that the baseline has not"
    assert found.step == 10


def test_an_item_that_only_one_side_has_is_a_difference() -> None:
    found = first_difference(BASELINE, interrupted((boundary(1, extra="x"),)))
    assert found is not None
    assert (found.what, found.expected, found.found) == ("extra", "nothing", "x")


def test_a_boundary_that_the_baseline_passed_twice_may_be_either() -> None:
    baseline = interrupted((boundary(3), boundary(3, **{"rng.torch": "after eval"})))
    assert first_difference(baseline, interrupted((boundary(3),))) is None
    assert first_difference(baseline, interrupted((boundary(3, model="?"),))) is not None


@pytest.mark.parametrize(
    ("rows", "what", "step"),
    [
        ((*ROWS[:4], {"step": 5, "loss": 0.25}, *ROWS[5:]), "metric loss", 5),
        ((*ROWS[:4], {"step": 5}, *ROWS[5:]), "metric loss", 5),
        (ROWS[:8], "metric rows", 9),
        ((*ROWS, {"step": 11, "loss": 1.0}), "metric rows", 11),
        ((*ROWS[:2], *ROWS[1:]), "metric step", 3),
    ],
)
def test_metrics_are_compared_row_by_row(rows: tuple[MetricRow, ...], what: str, step: int) -> None:
    other = replace(BASELINE, metrics=rows)
    found = first_difference(BASELINE, other)
    assert found is not None
    assert (found.what, found.step) == (what, step)
    assert differs_in_result(BASELINE, other)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"tensors": {"model/weight": "aa", "optimizer/0": "cc"}}, "optimizer/0"),
        ({"tensors": {"model/weight": "aa"}}, "optimizer/0"),
        ({"weights": "abd"}, "weights"),
        ({"step": 9}, "the last step"),
    ],
)
def test_the_result_is_compared_too(change: dict[str, object], what: str) -> None:
    other = replace(BASELINE, **change)  # type: ignore[arg-type]
    found = first_difference(BASELINE, other)
    assert found is not None
    assert found.what == what
    assert differs_in_result(BASELINE, other)


def test_nan_equals_nan_and_minus_zero_is_not_zero() -> None:
    nan: tuple[MetricRow, ...] = ({"step": 1, "loss": float("nan")},)
    again: tuple[MetricRow, ...] = ({"step": 1, "loss": float("nan")},)
    assert metric_difference(nan, again, 0.0) is None
    assert metric_difference(nan, again, 1e-3) is None
    zero: tuple[MetricRow, ...] = ({"step": 1, "loss": 0.0},)
    minus: tuple[MetricRow, ...] = ({"step": 1, "loss": -0.0},)
    assert metric_difference(zero, minus, 0.0) is not None
    assert metric_difference(zero, minus, 1e-9) is None
    assert metric_difference(nan, zero, 1e9) is not None


@pytest.mark.parametrize(("loss", "same"), [(100.0009, True), (100.01, False)])
def test_the_tolerance_is_relative(loss: float, same: bool) -> None:
    rows: tuple[MetricRow, ...] = ({"step": 1, "loss": 100.0},)
    other: tuple[MetricRow, ...] = ({"step": 1, "loss": loss},)
    assert (metric_difference(rows, other, 1e-5) is None) is same


def test_texts_and_switches_are_never_within_a_tolerance() -> None:
    rows: tuple[MetricRow, ...] = ({"step": 1, "best": True, "phase": "a"},)
    other: tuple[MetricRow, ...] = ({"step": 1, "best": False, "phase": "a"},)
    assert metric_difference(rows, other, 10.0) is not None


def test_what_never_changes_is_known() -> None:
    rows = tuple(boundary(step, **{"rng.python": "same"}) for step in range(3))
    assert changing_items(interrupted(rows)) == {
        "rng.torch": True,
        "rng.python": False,
        "position": True,
        "metrics": True,
        "model": True,
        "optimizer": True,
    }
