"""A project on a laptop, its jobs on another machine: what a user types, and what may go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.e2e.chain import FOREVER, JOB_S, QUICK, Chain, make_chain, told
from tests.engines.hosts import Laptop
from tests.waiting import PATIENCE_S

SLOW_S = 1500.0
#: How long a network is gone: a moment, and long enough for every connection to be given up.
CUT_S = [10, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(600)])]


@pytest.fixture
def chain(laptop: Laptop) -> Iterator[Chain]:
    with make_chain(laptop) as made:
        yield made


@pytest.mark.timeout(JOB_S)
def test_a_job_is_run_looked_at_and_ended_from_the_laptop(chain: Chain) -> None:
    said = chain.run("one", "train", *QUICK)
    assert "from step 0\n" in said
    assert "done at 20\n" in said
    assert "SUCCEEDED" in said
    found = chain.job("one")
    assert (found["target"], found["state"], found["step"]) == ("gpu1", "SUCCEEDED", 20)

    chain.run("two", "-d", "train", *FOREVER)
    chain.until_saved("two")
    assert "gpu1" in chain.perdure("ps")
    assert "gpu1" in chain.perdure("show", "two")
    here = chain.perdure("attach", "two", "--", "sh", "-c", "hostname; pwd; id -un")
    assert here.split("\n")[0] == "gpu1"
    assert "/snapshots/" in here.split("\n")[1]
    assert here.split("\n")[2] == "ada"
    assert "saved at step" in chain.perdure("interrupt", "two")
    assert chain.job("two")["state"] == "INTERRUPTED"
    chain.perdure("resume", "-d", "two")
    assert chain.job("two")["state"] in ("STARTING", "RUNNING")
    assert "already running" in chain.perdure("resume", "two", code=3)
    chain.until(lambda: chain.perdure("logs", "two").count("from step") == 2)
    assert "killed `two`" in chain.perdure("kill", "two")
    assert chain.job("two")["state"] == "CANCELLED"
    explained = chain.run("three", "--explain", "train", *QUICK)
    assert "/srv/gpu1" in explained


@pytest.mark.timeout(JOB_S)
def test_ctrl_c_saves_and_stops_a_job_that_is_followed(chain: Chain) -> None:
    followed = chain.followed("one", "train", *FOREVER)
    chain.until_saved("one")
    # To the process itself: the one that was started only passes on what it says.
    chain.hosts.run("laptop", "pkill", "-INT", "-f", "perdure.cli.main run --on gpu1")
    said = followed.communicate(timeout=PATIENCE_S)[0].decode()
    assert followed.returncode == 75, said
    assert "go on: perdure resume one" in said
    assert chain.job("one")["state"] == "INTERRUPTED"


@pytest.mark.timeout(JOB_S)
@pytest.mark.parametrize("cut_s", CUT_S)
def test_a_job_goes_on_without_its_network(chain: Chain, cut_s: int) -> None:
    followed = chain.followed("one", "train", "600", str(cut_s / 600))
    chain.hosts.cut("gpu1")
    began = time.monotonic()
    found = chain.job("one")
    assert found["state"] in ("STARTING", "RUNNING")
    assert found["problem"]
    assert isinstance(found["asked_at"], float)
    said = chain.perdure("ps")
    assert "unreachable, " in said
    assert "hint" in chain.perdure("kill", "one", code=4)
    time.sleep(max(0.0, cut_s - (time.monotonic() - began)))
    chain.hosts.mend("gpu1")
    said = followed.communicate(timeout=PATIENCE_S)[0].decode()
    assert followed.returncode == 0, said
    assert said.count("`gpu1` does not answer; the job goes on there") == 1, said
    assert said.count("`gpu1` answers again") == 1, said
    assert told(said) == [
        "from step 0",
        *(f"at {step}" for step in range(50, 601, 50)),
        "done at 600",
    ]


@pytest.mark.timeout(JOB_S)
def test_a_host_that_lost_its_power_ends_its_jobs_alike(chain: Chain) -> None:
    train = ("--seed", "7", "train")
    chain.run("whole", *train, "150", "0")
    chain.run("broken", "-d", *train, "150", "0.05")
    chain.until_saved("broken")
    chain.hosts.kill("gpu1")
    assert "does not answer" in chain.perdure("recover")
    chain.hosts.start("gpu1")
    assert chain.job("broken")["reason"] == "the machine restarted"
    assert "`broken` runs again" in chain.perdure("recover")
    chain.until_state("broken", "SUCCEEDED")
    found = chain.job("broken")
    assert (found["attempt"], found["began_again"]) == (2, False)
    assert chain.result("broken") == chain.result("whole")


def weights(chain: Chain, job: str) -> tuple[object, object, object]:
    """Return what a training of the template came to: its weights, and all of its metrics."""
    found = json.loads(chain.perdure("show", job, "--json"))["result"]
    assert found["complete"]
    return found["weights"], found["rows"], found["metrics"]


#: What trains the template's network, with the same seed each time.
TRAIN = ("--seed", "7", "train", "--epochs", "10")


def train_cut_off(chain: Chain) -> None:
    """Train while the network is gone for half a minute, and somebody looks on."""
    followed = chain.followed("cut", *TRAIN)
    chain.until_step("cut", 20)
    chain.hosts.cut("gpu1")
    time.sleep(30)
    chain.hosts.mend("gpu1")
    said = followed.communicate(timeout=SLOW_S)[0].decode()
    assert followed.returncode == 0, said


def train_without_power(chain: Chain) -> None:
    """Train on a host whose power is taken in the middle."""
    chain.run("dark", "-d", *TRAIN)
    chain.until_step("dark", 20)
    chain.perdure("interrupt", "dark")
    chain.perdure("resume", "-d", "dark")
    chain.until_step("dark", 80)
    chain.hosts.kill("gpu1")
    chain.hosts.start("gpu1")
    chain.until_state("dark", "LOST")
    chain.perdure("recover")
    chain.until_state("dark", "SUCCEEDED")


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(3600)
def test_the_template_trains_drills_and_demonstrates_on_another_host(chain: Chain) -> None:
    """`chain` is there for its target; the template's project is made beside it."""
    beside = replace(chain, project=chain.laptop.folder)
    said = beside.perdure("demo", "digits", "--in", "gpu1", timeout_s=SLOW_S)
    assert "identical: weights" in said
    digits = replace(chain, project=chain.laptop.folder / "digits")
    drill = ("drill", "--on", "gpu1", "-n", "10", "train", "--", "--epochs", "2")
    assert "10/10 bit-exact" in digits.perdure(*drill, timeout_s=SLOW_S)
    run = ("run", "--on", "gpu1", "--name", "whole")
    digits.perdure(*run, *TRAIN, timeout_s=SLOW_S)
    train_cut_off(digits)
    assert weights(digits, "cut") == weights(digits, "whole")
    train_without_power(digits)
    assert weights(digits, "dark") == weights(digits, "whole")
