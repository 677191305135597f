"""What of paid time is useful: by hand, and by the order that ways of saving must have."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import spot, spot_upload
from benchmarks.spot import Costs, Way
from perdure.moving.address import Address
from perdure.runtime.interval import best, rate

#: A save stops the training for a second, is on disk after 2 and in the bucket 10 s later.
COSTS = Costs(stall=1.0, write=2.0, upload=10.0, notice=6.0)
FREE = Costs(0.0, 0.0, 0.0, 0.0)
NOTICE = spot.WAYS[0]
TEN = Way("", every_s=600.0)
THIRTY = Way("", every_s=1800.0)


def test_a_trace_is_its_machines() -> None:
    assert spot.of_trace(60.0, [0, 0, 1, 1, 0, 1, 0]) == [120.0, 60.0, 60.0]
    assert spot.of_trace(60.0, [1, 1]) == []


def test_shares_are_those_of_arithmetic() -> None:
    # An hour: 90 s to begin; of 3510 s are 5 times 600 s kept, and once 1800 s.
    assert spot.useful([3600.0], TEN, FREE, 1) == pytest.approx(3000 / 3600)
    assert spot.useful([3600.0], THIRTY, FREE, 1) == pytest.approx(1800 / 3600)
    # With costs the fifth save, at 90 + 5 * 601 s, is in the bucket 12 s later.
    assert spot.useful([90 + 5 * 601 + 13.0], TEN, COSTS, 1) == pytest.approx(3000 / 3108)
    assert spot.useful([90 + 5 * 601 + 11.0], TEN, COSTS, 1) == pytest.approx(2400 / 3106)
    assert spot.useful([60.0], THIRTY, COSTS, 1) == 0.0
    assert spot.useful([], NOTICE, COSTS, 1) == 0.0


def test_at_a_notice_nothing_is_lost_and_the_rest_of_it_is_not_paid_for() -> None:
    # Two minutes before the hour is over: 6 s later all is in the bucket.
    paid = 3600 - 120 + 6
    share = spot.useful([3600.0], NOTICE, COSTS, 1)
    # The intervals of its own saves are not ours to know: each costs a second.
    saves = 3480 - 90 - share * paid
    assert saves == pytest.approx(round(saves))
    assert 0 < saves < 100
    assert spot.useful([100.0], NOTICE, COSTS, 1) == 0.0


def test_what_gets_no_notice_loses_what_the_bucket_lacks() -> None:
    machines = [3600.0] * 20
    shares = [spot.useful(machines, Way("", untold=part), COSTS, 1) for part in (0.0, 0.5, 1.0)]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 3


def test_a_slow_link_brings_the_newest_and_leaves_out_what_is_older() -> None:
    # Saved at 691 and 1292 s; the upload of the first takes until 2000 s, then goes the third.
    slow = Costs(1.0, 2.0, 1307.0, 6.0)
    machine = 90 + 4 * 601.0
    assert spot.useful([machine], TEN, slow, 1) == pytest.approx(600 / machine)
    assert spot.useful([2000 + 1307 + 1.0], TEN, slow, 1) == pytest.approx(1800 / 3308)


@pytest.mark.parametrize("seed", range(5))
def test_a_notice_is_worth_more_than_any_interval(seed: int) -> None:
    machines = spot.generated(45.0, seed)
    assert 9 < len(machines) / 45 < 13
    shares = [spot.useful(machines, way, COSTS, seed) for way in (NOTICE, TEN, THIRTY)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] >= spot.TO_REACH


def test_the_first_row_has_what_is_to_be_reached() -> None:
    first, *others = spot.simulated(spot.generated(45.0, 1), COSTS, 1)
    assert (first.at_least, first.met) == (spot.TO_REACH, True)
    assert {each.met for each in others} == {None}


def test_the_same_seed_is_the_same_region() -> None:
    assert spot.generated(10.0, 3) == spot.generated(10.0, 3) != spot.generated(10.0, 4)


def test_what_uploads_take_is_spread_over_the_interval_of_saves() -> None:
    every_s = best(COSTS.stall, COSTS.write, rate(0.0, 0.0))
    (one, two) = (spot.beside_row(9, [taken], COSTS) for taken in (every_s / 200, every_s / 50))
    assert one.ratio == pytest.approx(1.005)
    assert two.ratio == pytest.approx(1.02)
    assert [one.met, two.met] == [True, False]


def test_an_upload_is_measured_in_processor_seconds(tmp_path: Path) -> None:
    found = spot_upload.processor_s(Address("file", "", str(tmp_path)), 1, 2)
    assert len(found) == 2
    assert min(found) > 0
