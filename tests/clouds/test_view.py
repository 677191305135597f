"""How a job stands whose machines are over, by its bucket alone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from perdure.clouds.opening import open_folder
from perdure.clouds.side import keys, standing
from perdure.clouds.side.order import BEYOND_S, Order
from perdure.clouds.view import BucketLine
from perdure.jobs import looking
from perdure.model.station import Station
from perdure.moving.address import parse_address

ORDER = Order(1, {}, {}, 0, None, 3, ())


def test_a_job_that_no_machine_comes_for_any_more_does_not_wait(tmp_path: Path) -> None:
    station = Station(f"file://{tmp_path}/a bucket/cats-1", "/cats-1", "aws:eu-west-1")
    (tmp_path / "a bucket/cats-1").mkdir(parents=True)
    bucket = open_folder(parse_address(station.destination), "eu-west-1")
    line = BucketLine(tmp_path, station)

    def told(deadline: float | None) -> tuple[bool, str | None, str]:
        text = replace(ORDER, deadline=deadline).text()
        bucket.put(keys.job("otter", keys.START), text.encode())
        said = line.call(looking.look, "", {"results/otter": {}}, True)["jobs"]["results/otter"]
        return said["alive"], said["waits"], said["ended"]

    turn = standing.want(bucket, "otter").turn
    now = time.time()
    waits = (True, "waits for a machine", "")
    # Its own time may be over: the machine that is to say so may yet come.
    assert [told(at) for at in (None, now + 60, now - BEYOND_S + 60)] == [waits] * 3
    assert told(now - BEYOND_S - 60) == (False, None, "its time (max_hours) was over")
    assert standing.wanted(bucket, "otter").wanted is False
    # What is submitted anew is not taken for it.
    assert standing.want(bucket, "otter").turn == turn + 1
    assert told(now + 3600) == waits
