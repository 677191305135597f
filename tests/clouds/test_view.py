"""How a job stands whose machines are over, by its bucket alone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.clouds.opening import open_folder
from perdure.clouds.side import keys, standing
from perdure.clouds.side.order import BEYOND_S, Order
from perdure.clouds.view import BucketLine
from perdure.jobs import looking
from perdure.model.station import Station
from perdure.moving.address import parse_address

ORDER = Order(1, {}, {}, 0, None, 3, ())
WAITS = (True, "waits for a machine", "")
OVER = (False, None, "its time (max_hours) was over")
Told = tuple[bool, str | None, str]


class Otter:
    """A job that wants a machine, and a person who looks at it."""

    def __init__(self, root: Path) -> None:
        station = Station(f"file://{root}/a bucket/cats-1", "/cats-1", "aws:eu-west-1")
        (root / "a bucket/cats-1").mkdir(parents=True)
        self.bucket = open_folder(parse_address(station.destination), "eu-west-1")
        self.turn = standing.want(self.bucket, "otter").turn
        self._line = BucketLine(root, station)

    def of(self, text: str) -> Told:
        """Return how it stands that was submitted in these words."""
        self.bucket.put(keys.job("otter", keys.START), text.encode())
        jobs = self._line.call(looking.look, "", {"results/otter": {}}, True)["jobs"]
        return tuple(jobs["results/otter"][name] for name in ("alive", "waits", "ended"))

    def until(self, deadline: float | None) -> Told:
        """Return how it stands with this deadline."""
        return self.of(replace(ORDER, deadline=deadline).text())


@pytest.fixture
def otter(tmp_path: Path) -> Otter:
    return Otter(tmp_path)


def test_a_job_that_no_machine_comes_for_any_more_does_not_wait(otter: Otter) -> None:
    now = time.time()
    # Its own time may be over: the machine that is to say so may yet come.
    assert [otter.until(at) for at in (None, now + 60, now - BEYOND_S + 60)] == [WAITS] * 3
    assert otter.until(now - BEYOND_S - 60) == OVER
    assert standing.wanted(otter.bucket, "otter").wanted is False
    # What is submitted anew is not taken for it.
    assert standing.want(otter.bucket, "otter").turn == otter.turn + 1
    assert otter.until(now + 3600) == WAITS


def test_a_clock_that_is_ahead_ends_nothing(otter: Otter, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert otter.until(now + 3600) == WAITS
    assert standing.wanted(otter.bucket, "otter").wanted is True


@pytest.mark.parametrize("text", ['{"format": 9, "files": []}', "[]", "no JSON"])
def test_what_another_perdure_submitted_is_told_nevertheless(otter: Otter, text: str) -> None:
    assert otter.of(text) == WAITS
