"""A sweep whose jobs run in real containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.request import JobRequest
from perdure.model.job import Resources, State
from perdure.sweeps import holding
from perdure.sweeps.driver import Driver
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.pools import open_pool
from perdure.sweeps.record import read_sweep
from perdure.sweeps.standing import standing
from perdure.sweeps.submit import SweepRequest, outline, submit
from perdure.sweeps.trials import Maker
from tests.engines.engines import RealEngine
from tests.jobs.contained import Yard, make_yard
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
