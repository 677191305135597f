"""A job that goes from this machine to a cloud and back, and a sweep whose trials are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.runtime.result import read_result
from tests.cli.command import is_one_error
from tests.clouds.test_planes import Cloud, cloud
from tests.clouds.test_spot import TRAINING
from tests.engines.slurm import Cluster

__all__ = ["cloud"]

only_google = pytest.mark.parametrize("cloud", ["gcp"], indirect=True)


def slowed(cloud: Cloud) -> Path:
    """Return a file as long as which is there a step takes a second, on whatever machine."""
    slow, train = cloud.project.parent / "slow", cloud.project / "train.py"
    pausing = f"time.sleep(1.0 * os.path.exists({str(slow)!r}))"
    train.write_text("import os\n" + TRAINING.replace("time.sleep(pause_s)", pausing))
    return slow


@only_google
def test_a_job_goes_to_a_cloud_and_back(cloud: Cloud) -> None:
    slow = slowed(cloud)
    arguments = ("--seed", "7", "train", "60", "0")
    results = cloud.project / "results"
    cloud.perdure("run", "--name", "alone", *arguments)
    slow.touch()
    cloud.perdure("run", "--name", "otter", "-d", *arguments)
    cloud.until(lambda: any((results / "otter/checkpoints").glob("g*")))
    cloud.perdure("interrupt", "otter")
    begun = cloud.job("otter")
    assert begun["state"] == "INTERRUPTED"
    cloud.perdure("resume", "-d", "otter", "--on", "cloud")
    assert cloud.job("otter")["target"] == "cloud"
    before = len(cloud.saved())
    cloud.until(lambda: cloud.job("otter")["state"] == "RUNNING")
    cloud.until_saved(before)
    cloud.perdure("interrupt", "--no-wait", "otter")
    cloud.until_gone()
    away = cloud.job("otter")
    assert away["step"] > begun["step"]
    slow.unlink()
    cloud.perdure("resume", "otter", "--on", "local")
    found = cloud.job("otter")
    assert (found["target"], found["state"], found["step"]) == ("local", "SUCCEEDED", 60)
    assert read_result(str(results / "otter")) == read_result(str(results / "alone"))
    assert f"from step {away['step']}" in cloud.perdure("logs", "otter").out
    assert not cloud.plane.groups


@only_google
def test_where_a_job_cannot_go(cloud: Cloud) -> None:
    cloud.perdure("run", "--name", "done", "train", "2", "0")
    assert is_one_error(cloud.perdure("resume", "done", "--on", "cloud", code=3), 3, "succeeded")
    assert is_one_error(cloud.perdure("resume", "done", "--on", "clod", code=2), 2, "clod", "cloud")
    docker = cloud.perdure("resume", "done", "--on", "docker", code=2)
    assert is_one_error(docker, 2, "cannot go on on `docker`", "--on docker begins anew")
    more = cloud.perdure("resume", "done", "--gpus", "1", code=2)
    assert is_one_error(more, 2, "with what it was given", "--on TARGET")


@only_google
def test_a_sweeps_trials_each_have_a_machine(cloud: Cloud) -> None:
    table = cloud.project / "pyproject.toml"
    table.write_text(table.read_text() + 'count = "python count.py"\n')
    (cloud.project / "count.py").write_text(
        "import sys, perdure\nrun = perdure.start()\nrun.track(state={})\nprint(sys.argv)\n"
    )
    cloud.perdure("sweep", "--on", "cloud", "--name", "rates", "--yes", "count", "n=2,3")

    def states() -> list[str]:
        return [each["state"] for each in json.loads(cloud.perdure("ps", "-a", "--json").out)]

    cloud.until(lambda: states() == ["SUCCEEDED"] * 2)
    cloud.until_gone()
    assert cloud.plane.count == 2


def interrupted_and_refused(cloud: Cloud) -> None:
    """Interrupt a job with a time limit: it goes to no cloud before that, nor with its limit."""
    anew = ("resume", "otter", "--on", "cloud", "--gpus", "0")
    assert is_one_error(cloud.perdure(*anew, code=3), 3, "is already running")
    cloud.perdure("interrupt", "otter")
    timed = cloud.perdure("resume", "-d", "otter", "--on", "cloud", code=2)
    assert is_one_error(timed, 2, "`--time`", "--gpus N")


@pytest.mark.long
@only_google
def test_a_job_of_a_cluster_goes_to_a_cloud_and_back(cloud: Cloud, slurm: Cluster) -> None:
    slow = slowed(cloud)
    with (cloud.project / ".perdure/local.toml").open("a") as file:
        file.write('\n[targets.lab]\nkind = "slurm"\n')
    arguments = ("--seed", "7", "train", "60", "0")
    results = cloud.project / "results"
    cloud.perdure("run", "--name", "alone", *arguments)
    slow.touch()
    cloud.perdure("run", "--on", "lab", "--time", "1h", "--name", "otter", "-d", *arguments)
    cloud.until(lambda: any((results / "otter/checkpoints").glob("g*")))
    interrupted_and_refused(cloud)
    begun = cloud.job("otter")
    cloud.perdure("resume", "-d", "otter", "--on", "cloud", "--gpus", "0")
    assert slurm.jobs() == []
    before = len(cloud.saved())
    cloud.until(lambda: cloud.job("otter")["state"] == "RUNNING")
    cloud.until_saved(before)
    cloud.perdure("interrupt", "--no-wait", "otter")
    cloud.until_gone()
    away = cloud.job("otter")
    assert away["step"] > begun["step"]
    slow.unlink()
    cloud.perdure("resume", "otter", "--on", "lab")
    found = cloud.job("otter")
    assert (found["target"], found["state"], found["step"]) == ("lab", "SUCCEEDED", 60)
    assert read_result(str(results / "otter")) == read_result(str(results / "alone"))
    assert f"from step {away['step']}" in cloud.perdure("logs", "otter").out
    assert not cloud.plane.groups
