"""Plans are values: the same seed plans the same, and every aim is a step that there is."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.drill.plan import (
    SAVE_POINTS,
    Course,
    Interruption,
    Kind,
    RunPlan,
    plan_runs,
    plan_self_test,
    possible_kinds,
    save_interval,
)

DIGITS = Course(
    steps=138,
    epoch_starts=(0, 23, 46, 69, 92, 115),
    points={"eval": (23, 23, 23, 46, 46, 46)},
    seconds=6.9,
)


def aims(runs: tuple[RunPlan, ...]) -> list[Interruption]:
    return [interruption for run in runs for interruption in run.interruptions]


def test_the_same_seed_plans_the_same_and_another_one_does_not() -> None:
    assert plan_runs(DIGITS, 20, tuple(Kind), 1) == plan_runs(DIGITS, 20, tuple(Kind), 1)
    assert plan_runs(DIGITS, 20, tuple(Kind), 1) != plan_runs(DIGITS, 20, tuple(Kind), 2)


def test_each_run_has_one_to_three_interruptions_each_in_its_own_generation() -> None:
    for run in plan_runs(DIGITS, 30, tuple(Kind), 5):
        assert 1 <= len(run.interruptions) <= 3
        for generation, interruption in enumerate(run.interruptions, start=1):
            assert {action.generation for action in interruption.actions} == {generation}


def test_every_kind_is_dealt_even_in_a_short_drill() -> None:
    for seed in range(20):
        dealt = {one.kind for one in aims(plan_runs(DIGITS, 7, tuple(Kind), seed))}
        assert dealt == set(Kind)


@pytest.mark.parametrize("kind", [Kind.TERM, Kind.KILL, Kind.FILE])
def test_most_aims_are_in_the_middle_of_an_epoch(kind: Kind) -> None:
    steps = [one.actions[0].step for one in aims(plan_runs(DIGITS, 40, (kind,), 3))]
    middle = [step for step in steps if step is not None and DIGITS.is_mid_epoch(step)]
    assert len(middle) > 0.8 * len(steps)
    assert len(middle) < len(steps)
    assert max(middle) > 100
    assert min(middle) < 30


def test_a_kill_inside_a_save_is_aimed_at_every_point_of_it() -> None:
    runs = plan_runs(DIGITS, 60, (Kind.MID_SAVE,), 0)
    counted = Counter(one.actions[0].point for one in aims(runs))
    assert set(counted) == set(SAVE_POINTS)
    assert {one.actions[0].do for one in aims(runs)} == {"kill"}


def test_a_start_is_interrupted_only_where_there_is_something_to_restore() -> None:
    for run in plan_runs(DIGITS, 20, (Kind.STARTUP,), 4):
        assert run.interruptions[0].kind is Kind.TERM
        assert {one.kind for one in run.interruptions[1:]} == {Kind.STARTUP}


def test_a_second_interruption_waits_for_the_first() -> None:
    doubles = aims(plan_runs(DIGITS, 40, (Kind.DOUBLE,), 2))
    inside = [one for one in doubles if len(one.actions) == 2]
    assert inside
    assert len(inside) < len(doubles)
    for one in inside:
        assert not one.actions[0].after
        assert one.actions[1].after
        assert one.actions[1].point in SAVE_POINTS


def test_evaluation_is_aimed_at_where_the_baseline_polled() -> None:
    for one in aims(plan_runs(DIGITS, 30, (Kind.EVAL,), 2)):
        assert one.actions[0].step in (23, 46)
        assert 1 <= one.actions[0].nth <= 3


def test_a_training_that_never_polls_gets_no_evaluation_kind() -> None:
    course = Course(steps=10, epoch_starts=(0, 5))
    assert possible_kinds(course, (Kind.EVAL, Kind.KILL)) == (Kind.KILL,)
    assert {one.kind for one in aims(plan_runs(course, 9, (Kind.EVAL, Kind.KILL), 1))} == {
        Kind.KILL
    }


@given(
    steps=st.integers(1, 400),
    per_epoch=st.integers(1, 60),
    count=st.integers(1, 25),
    seed=st.integers(0, 10_000),
)
def test_every_aim_is_a_step_that_the_training_takes(
    steps: int, per_epoch: int, count: int, seed: int
) -> None:
    course = Course(steps, tuple(range(0, steps, per_epoch)), {"eval": (steps,)}, 1.0)
    runs = plan_runs(course, count, tuple(Kind), seed)
    assert len({run.name for run in runs}) == count
    for run in runs:
        assert run.save_every >= 2
        for one in run.interruptions:
            for action in one.actions:
                assert action.step is None or 1 <= action.step <= steps
                assert 0 <= action.delay_s <= course.step_s


def test_orders_are_what_the_probe_reads() -> None:
    run = plan_runs(DIGITS, 1, (Kind.KILL,), 1)[0]
    orders = json.loads(run.orders())
    assert orders["trace"] is True
    assert orders["drop"] == []
    assert orders["save_every"] == save_interval(DIGITS)
    assert [order["point"] for order in orders["actions"]] == [
        action.point for one in run.interruptions for action in one.actions
    ]


def test_the_self_test_stops_once_in_the_middle_of_an_epoch_for_each_item() -> None:
    runs = plan_self_test(DIGITS, ["model", "rng.torch"])
    assert [run.drop for run in runs] == [("model",), ("rng.torch",)]
    for run in runs:
        step = run.interruptions[0].actions[0].step
        assert step is not None
        assert DIGITS.is_mid_epoch(step)
        assert step > DIGITS.epoch_starts[1]


def test_a_training_of_one_step_epochs_is_planned_all_the_same() -> None:
    course = Course(steps=3, epoch_starts=(0, 1, 2))
    assert plan_self_test(course, ["model"])[0].interruptions[0].actions[0].step == 1
