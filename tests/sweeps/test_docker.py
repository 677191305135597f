"""A sweep whose jobs run in real containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.lifecycle import read_status
from perdure.jobs.request import JobRequest
from perdure.model.job import Resources, State
from perdure.sweeps import holding
from perdure.sweeps.driver import Driver
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.pools import open_pool
from perdure.sweeps.record import edit, read_sweep, wanting
from perdure.sweeps.standing import standing
from perdure.sweeps.submit import SweepRequest, outline, submit
from perdure.sweeps.trials import Maker
from tests.engines.engines import RealEngine
from tests.jobs.contained import Yard, make_yard
from tests.jobs.projects import FOREVER
from tests.waiting import until


@pytest.fixture
def yard(tmp_path: Path, engine: RealEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    made = make_yard(tmp_path / "it's, a: project", engine, monkeypatch)
    yield made
    made.clear()


def drive(yard: Yard, folder: Path) -> None:
    """Drive a sweep in this process, which knows of the small image."""
    workspace = yard.workspace
    with holding.held(folder) as said:
        pool, mark = open_pool(workspace, folder, folders.read_record(folder), {})
        maker = Maker(folder, read_sweep(folder), workspace.project.results, mark=mark)
        driver = Driver(workspace, folder, pool, maker, said)
        try:
            driver.run()
        finally:
            driver.close()
            pool.close()


def test_trials_run_in_containers_with_their_limits(yard: Yard) -> None:
    job = JobRequest(
        "train",
        ("4",),
        seed=1,
        target="docker",
        grace_s=5.0,
        retries=0,
        resources=Resources(memory_bytes=256 << 20),
    )
    request = SweepRequest(job, parse_axes(["x=a,b,c", "seed=5"]), name="boxed", max_running=2)
    folder = submit(yard.workspace, outline(yard.workspace, request))
    drive(yard, folder)
    found = standing(yard.workspace, folder)
    assert found.states == {State.SUCCEEDED: 3}
    for trial in found.trials:
        run = yard.workspace.project.results / trial.job
        assert "done at 4" in folders.log_path(run, 1).read_text()
        record = folders.read_record(run)
        assert (record.target, record.seed) == ("docker", 5)
        assert record.arguments == ("4", "--x", trial.values["x"])
    until(lambda: yard.containers() == [])


def test_what_runs_in_a_container_without_a_driver_is_stopped_with_its_sweep(yard: Yard) -> None:
    workspace = yard.workspace
    job = JobRequest("train", (FOREVER,), seed=1, target="docker", grace_s=5.0, retries=0)
    request = SweepRequest(job, parse_axes(["x=a,b"]), name="boxed", max_running=1)
    folder = submit(workspace, outline(workspace, request))
    pool, mark = open_pool(workspace, folder, folders.read_record(folder), {})
    try:
        # A driver that has begun a trial, and is gone.
        maker = Maker(folder, read_sweep(folder), workspace.project.results, mark=mark)
        first = maker.make(1, {"x": "a"})
        pool.begin([first])
        until(lambda: (read_status(first.folder).durable_step or 0) >= 3)
    finally:
        pool.close()
    edit(folder, lambda sweep: wanting(sweep, stopped=True))
    drive(yard, folder)
    assert not folders.is_alive(first.folder)
    assert standing(workspace, folder).states == {State.INTERRUPTED: 1, State.QUEUED: 1}
