"""When to save."""

from __future__ import annotations

import math

import pytest

from perdure.runtime import interval
from perdure.runtime.interval import Interval


def test_the_rate_begins_at_one_in_four_hours_and_learns() -> None:
    assert interval.rate(0, 0) == pytest.approx(1 / (4 * 3600))
    assert interval.rate(10, 36000) > interval.rate(0, 36000)
    assert interval.rate(0, 1e6) < interval.rate(0, 0)
    assert interval.rate(0, -5) == interval.rate(0, 0)


def test_the_interval_is_youngs_within_its_limits() -> None:
    per_s = 1 / 3600
    assert interval.best(0.05, 0.5, per_s) == pytest.approx(math.sqrt(2 * 0.05 * 3600))
    assert interval.best(0.0, 100.0, per_s) == 125.0
    assert interval.best(0.0, 0.0, per_s) == interval.FLOOR_S
    assert interval.best(1e9, 0.0, per_s) == interval.CEILING_S


def test_what_saves_cost_and_how_often_runs_die_move_it() -> None:
    tuned = Interval()
    tuned.start(100.0)
    first = tuned.seconds()
    assert not tuned.due(100.0 + first - 1)
    assert tuned.due(100.0 + first)
    tuned.saved(100.0 + first, 0.5)
    tuned.written(1.0)
    assert tuned.seconds() > first
    assert tuned.observed_s == pytest.approx(first)
    dying = Interval(events=50)
    assert dying.seconds() < first


def test_a_fixed_interval_stays() -> None:
    fixed = Interval(7.5)
    fixed.start(0)
    fixed.saved(1, 100.0)
    assert fixed.seconds() == 7.5
