"""What of paid time is useful: by hand, and by the order that ways of saving must have."""

from __future__ import annotations

import pytest

from benchmarks import spot

NOTICE, _, TEN, _, THIRTY, _ = spot.WAYS


def test_a_trace_is_its_machines() -> None:
    assert spot.of_trace(60.0, [0, 0, 1, 1, 0, 1, 0]) == [120.0, 60.0, 60.0]
    assert spot.of_trace(60.0, [1, 1]) == []


def test_shares_are_those_of_arithmetic() -> None:
    # An hour: 90 s to begin; of 3510 s are 5 times 600 s kept, and once 1800 s.
    assert spot.useful([3600.0], NOTICE, 1) == pytest.approx(3510 / 3600)
    assert spot.useful([3600.0], TEN, 1) == pytest.approx(3000 / 3600)
    assert spot.useful([3600.0], THIRTY, 1) == pytest.approx(1800 / 3600)
    assert spot.useful([60.0], NOTICE, 1) == 0.0
    assert spot.useful([], NOTICE, 1) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_a_notice_is_worth_more_than_any_interval(seed: int) -> None:
    machines = spot.generated(45.0, seed)
    assert 9 < len(machines) / 45 < 13
    shares = [spot.useful(machines, way, seed) for way in (NOTICE, TEN, THIRTY)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] >= spot.TO_REACH


def test_the_same_seed_is_the_same_region() -> None:
    assert spot.generated(10.0, 3) == spot.generated(10.0, 3) != spot.generated(10.0, 4)
