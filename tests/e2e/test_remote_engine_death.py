"""An engine on another host that is killed under a job there: the job ends as if nothing was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import chain
from tests.e2e.house import PATIENCE_S, House, make_house
from tests.engines.hosts import Laptop

STEPS = 400


@pytest.fixture(params=["old", pytest.param("modern", marks=pytest.mark.long)])
def house(laptop: Laptop, request: pytest.FixtureRequest) -> Iterator[House]:
    with make_house(laptop, kind=request.param, training=chain.TRAINING) as made:
        yield made


def digest(house: House, job: str) -> str:
    return (house.there / "results" / job / "outputs" / "result").read_text()


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize(
    "live",
    [
        pytest.param(False, id="plain"),
        pytest.param(True, id="live-restore", marks=pytest.mark.long),
    ],
)
def test_kill_9_of_the_engine_changes_nothing_of_what_a_job_comes_to(
    house: House, live: bool
) -> None:
    house.hosts.engine("gpu1", house.kind, live=live)
    train = ("--on", "gpubox", "--seed", "7", "--name")
    house.perdure("run", *train, "whole", "train", str(STEPS), "0")
    house.perdure("run", *train, "broken", "-d", "train", str(STEPS), "0.03")
    house.until_step("broken")
    house.hosts.crash("gpu1")
    # Its container needs the engine for nothing.
    told = len(house.events("broken"))
    house.until_events("broken", told + 1)
    assert house.state("broken") == "RUNNING"
    house.hosts.engine("gpu1", house.kind, live=live)
    # A new daemon ends what the one before it had started, unless it is told to let it live. What
    # it ended it begins again.
    house.until_state("broken", "SUCCEEDED")
    attempts = 1 if live else 2
    assert house.events("broken", attempts)[-1]["event"] == "ended"
    assert house.events("broken", attempts + 1) == []
    assert digest(house, "broken") == digest(house, "whole")
    assert house.owners() == {1000}
