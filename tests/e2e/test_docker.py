"""Containers as an ordinary user has them: the demonstration, and a container that is killed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from perdure.jobs.folder import is_alive
from perdure.runtime.result import read_result
from perdure.targets.invocation import container_name
from tests.cli.command import Ended
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser
from tests.waiting import until

PATIENCE_S = 1200


class House:
    """A user, an engine, and the demonstration's project."""

    def __init__(self, user: OrdinaryUser, engine: RealEngine) -> None:
        self.user = user
        self.engine = engine
        self.project = user.home / "my demo"

    def perdure(self, *words: str, cwd: Path | None = None) -> Ended:
        """Return how `perdure WORDS...` ended; it did well."""
        env = self.user.leading_to(self.engine)
        ended = self.user.perdure(*words, cwd=cwd or self.project, env=env, timeout_s=PATIENCE_S)
        assert ended.code == 0, ended
        return ended

    def wait_for(self, job: str, event: str, step: int = 0) -> None:
        """Return once a job's first attempt has told of an event from that step on."""
        file = self.project / "results" / job / "attempts" / "000001.jsonl"

        def told() -> bool:
            lines = file.read_text().splitlines() if file.exists() else ()
            events = [json.loads(line) for line in lines]
            return any(e["event"] == event and int(e.get("step", step)) >= step for e in events)

        until(told, told=lambda: f"no {event} from step {step}", patience_s=PATIENCE_S / 3)


def demonstrate(house: House) -> None:
    """Run the demonstration and see that it proved what it says."""
    done = house.perdure("demo", "--in", "docker", "my demo", cwd=house.user.home)
    assert re.search(r"^identical: weights [0-9a-f]{16}, 230 metric rows$", done.out, re.MULTILINE)
    for words in ("touched PREEMPT", "is durable", "exit code 75", "SIGKILL"):
        assert words in done.out
    assert done.out.rstrip().endswith("perdure drill train -n 5 --self-test")
    assert house.user.of_others(house.project) == []


def lose_a_container(house: House) -> None:
    """Kill a job's container, recover it, and compare it with one that was left alone."""
    words = ("run", "--on", "docker", "--seed", "3", "--name")
    train = ("train", "--epochs", "3")
    house.perdure(*words, "broken", "-d", *train)
    house.wait_for("broken", "step", 25)
    house.perdure("interrupt", "broken")
    house.perdure("resume", "-d", "broken")
    name = container_name(house.project, "broken")
    house.engine.docker("kill", "--signal=KILL", name)
    folder = house.project / "results" / "broken"
    until(lambda: not is_alive(folder))
    (listed,) = json.loads(house.perdure("ps", "--json").out)[-1:]
    assert listed["state"] == "LOST"
    house.perdure("recover")
    house.perdure("logs", "-f", "broken")
    house.perdure(*words, "whole", *train)
    broken, whole = read_result(str(folder)), read_result(str(folder.with_name("whole")))
    assert broken is not None
    assert whole is not None
    assert broken.complete
    assert (broken.weights, broken.metrics) == (whole.weights, whole.metrics)
    assert "same result: weights" in house.perdure("why", "broken", "whole").out


def look_around(house: House) -> None:
    """Edit the code, look inside, and peg it: nothing of it leaves a file of root's."""
    script = house.project / "src" / "digits" / "say.py"
    for word in ("first", "second"):
        script.write_text(f"print('{word}')\n")
        house.user.give(script)
        said = house.perdure("run", "--on", "docker", "--", "python", "-m", "digits.say")
        assert said.out == f"{word}\n"
        assert "building" not in said.err
    pegged = house.perdure("run", "--on", "docker", "--pegged", "--", "python", "-m", "digits.say")
    assert pegged.out == "second\n"
    inside = house.perdure("attach", "@last", "--", "sh", "-c", "pwd; id -u; ls /code/src/digits")
    assert inside.out.split()[:2] == ["/project/code", str(house.user.user_id)]
    assert "say.py" in inside.out
    assert house.user.of_others(house.project) == []


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_containers_on_the_oldest_engine(as_user: OrdinaryUser, old_engine: RealEngine) -> None:
    house = House(as_user, old_engine)
    demonstrate(house)
    look_around(house)


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_all_of_it_on_either_engine(as_user: OrdinaryUser, engine: RealEngine) -> None:
    house = House(as_user, engine)
    demonstrate(house)
    lose_a_container(house)
    look_around(house)
    assert "identical: weights" in house.perdure("rerun", "whole").out
    assert house.user.of_others(house.project) == []
