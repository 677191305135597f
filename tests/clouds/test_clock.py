"""A machine whose clock is wrong, and jobs in a bucket whose clock is right."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.clouds import clock as clocks
from perdure.clouds.clock import Clock
from perdure.clouds.provider import Provider
from perdure.clouds.side import standing
from perdure.clouds.side.lease import Lease
from perdure.clouds.side.order import Order
from perdure.model.settings import CloudSettings
from perdure.targets import cloud_order
from perdure.targets.cloud import Cloud
from perdure.targets.protocol import Handle, Notice
from tests.jobs.projects import make_project

#: What a slow machine may take, and far less than by how much the clock is wrong.
NEAR_S = 3600.0
ORDER = Order(1, {}, {}, 0, None, 3, ())


class Provider_:  # noqa: N801 - it stands for the protocol of that name
    """Forgets groups, and does nothing else."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def name(self, folder: str, job: str, turn: int) -> str:
        return f"{job}-{turn}"

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


@pytest.fixture(params=[-1e6, 1e6])
def off_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return by how much this machine's clock is wrong."""
    right, by = time.time, float(request.param)
    monkeypatch.setattr(time, "time", lambda: right() + by)
    return by


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    (tmp_path / "bucket").mkdir()
    wanted = CloudSettings(bucket=f"file://{tmp_path}/bucket")
    project = make_project(tmp_path / "p", train="true")
    return Cloud("aws", "aws", project, wanted, cast("Provider", Provider_()))


def test_times_are_the_buckets(cloud: Cloud, off_s: float) -> None:
    clock = Clock(cloud.bucket())
    first = clock.now().timestamp()
    assert abs(first + off_s - time.time()) < NEAR_S
    assert first <= clock.now().timestamp() < first + NEAR_S
    told = clock.of(time.time() + 600)
    assert told is not None
    assert abs(told - first - 600) < NEAR_S
    assert clock.of(None) is None


def test_it_is_asked_again_now_and_then(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = cloud.bucket()
    asked: list[str] = []
    right = bucket.now

    def now(_: object, key: str) -> dt.datetime:
        asked.append(key)
        return right(key)

    monkeypatch.setattr(type(bucket), "now", now)
    clock = Clock(bucket)
    for _ in range(3):
        clock.now()
    assert len(asked) == 1
    monkeypatch.setattr(clocks, "_GOOD_S", -1.0)
    clock.now()
    assert len(asked) == 2


def test_a_job_that_runs_is_asked_and_not_taken_for_one_that_waits(
    cloud: Cloud, off_s: float
) -> None:
    bucket, provider = cloud.bucket(), cast("Any", cloud.provider)
    turn = standing.want(bucket, "otter").turn
    machine = Lease(bucket, "otter", "machine")
    machine.take("")
    handle = Handle("aws", "otter", cloud.project.results / "otter")
    cloud.interrupt(handle, Notice("user", time.time() + 30))
    assert standing.wanted(bucket, "otter").wanted
    assert provider.forgotten == []
    told = standing.asked(bucket, "otter")
    assert told.verb == standing.INTERRUPT
    assert told.deadline is not None
    assert abs(told.deadline + off_s - time.time()) < NEAR_S
    machine.release()
    cloud.interrupt(handle, Notice("user"))
    assert not standing.wanted(bucket, "otter").wanted
    assert provider.forgotten == [f"otter-{turn}"]


def test_its_hours_are_counted_by_the_bucket(cloud: Cloud, off_s: float) -> None:
    run_dir = cloud.project.results / "otter"
    run_dir.mkdir(parents=True)
    order = cloud_order.brought(cloud.bucket(), run_dir, ORDER.text(), 2.0)
    assert order.deadline is not None
    assert abs(order.deadline + off_s - time.time() - 7200) < NEAR_S
