"""Jobs of SkyPilot: what a user types, against a `sky` of the tests' own; the bucket is moto's.

Processes stand in for machines: they run the task's own script, as SkyPilot's do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import yaml

from perdure.clouds import sky_command, sky_standing
from perdure.clouds.opening import open_folder
from perdure.clouds.side import standing
from perdure.clouds.sky_command import SkyCommand
from perdure.clouds.view import BucketLine
from perdure.errors import EnvironmentFailed, HostUnreachable, MissingProgram, PerdureError
from perdure.hosts import local
from perdure.jobs import looking
from perdure.jobs.witness import read_witness
from perdure.model.station import Station
from perdure.moving.address import parse_address
from perdure.runtime.result import read_result
from tests.cli.command import MAIN, is_one_error
from tests.clouds.conftest import REGION
from tests.clouds.sky_plane import Machine, SkyPlane
from tests.clouds.submitter import Submitter
from tests.clouds.test_spot import PROJECT, TRAINING

_TARGET = f"""\
[targets.sky]
kind = "sky"
bucket = "s3://lab/perdure"
region = "{REGION}"
types = ["L4", "A10G"]
infra = ["aws/us-east-1", "lambda"]
lease_s = 6
max_restarts = 1
"""


@dataclass
class Sky(Submitter):
    """A user with a project, and a SkyPilot whose machines this test is."""

    plane: SkyPlane

    @property
    def folder_of_machines(self) -> Path:
        return self.plane.folder / "machines"

    def step(self) -> None:
        self.plane.step()

    def machine(self) -> Machine:
        self.until(lambda: bool(self.plane.alive))
        return next(iter(self.plane.alive.values()))

    def until_saved(self, more_than: int = 0) -> None:
        self.until(lambda: len(self.saved()) > more_than)

    def saved(self) -> list[str]:
        found = boto3.client("s3", REGION).list_objects_v2(Bucket="lab").get("Contents", [])
        names = [each["Key"] for each in found if "/checkpoints/g" in each["Key"]]
        return [each for each in names if each.endswith(".json")]

    def until_over(self, *statuses: str) -> None:
        """Return once SkyPilot's jobs have ended like that, and it has no machine."""
        self.until(lambda: self.plane.statuses() == [*statuses] and not self.plane.alive)


@pytest.fixture
def sky(s3: object, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sky]:
    project = tmp_path / "a laptop" / "cats"
    (project / ".perdure").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "train.py").write_text(TRAINING)
    (project / ".perdure/local.toml").write_text(_TARGET)
    plane = SkyPlane(tmp_path / "sky", aws)
    programs = f"{plane.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", programs)
    yield Sky(project, {"HOME": str(tmp_path)}, plane)
    plane.close()


def begin(sky: Sky, steps: int = 50) -> None:
    """Run a job here to its end, and have the same begin in a cloud."""
    sky.perdure("run", "--name", "alone", "--seed", "7", "train", str(steps), "0")
    run = ("run", "--on", "sky", "--name", "otter", "--seed", "7", "-d")
    sky.perdure(*run, "train", str(steps), "0.05")


def assert_same(sky: Sky, steps: int = 50) -> None:
    """Assert that both have come to the same."""
    found = sky.job("otter")
    assert (found["state"], found["step"]) == ("SUCCEEDED", steps), sky.logs()
    results = sky.project / "results"
    assert read_result(str(results / "otter")) == read_result(str(results / "alone"))


def test_a_job_goes_on_in_another_cloud_and_leaves_nothing(sky: Sky) -> None:
    begin(sky)
    assert sky.job("otter")["state"] == "QUEUED"
    asked = (sky.plane.server / "asked").read_text()
    sky.until_saved()
    # The bucket tells how a job stands; SkyPilot is not asked.
    assert sky.job("otter")["state"] == "RUNNING"
    assert (sky.plane.server / "asked").read_text() == asked
    sky.plane.shut_down(sky.machine())
    sky.until_over("SUCCEEDED")
    assert sky.plane.count == 2
    assert sky.plane.jobs()[0]["recovery_count"] == 1
    assert_same(sky)
    (cost,) = json.loads(sky.perdure("cost", "--json").out)
    assert (cost["machines"], cost["paid"]) == (2, None)
    assert "nothing" in sky.perdure("reap", "--on", "sky", "--yes").err


@pytest.mark.long
@pytest.mark.parametrize("with_notice", [True, False])
def test_a_machine_that_is_taken_away_is_followed_by_another(with_notice: bool, sky: Sky) -> None:
    begin(sky, steps=140)
    sky.until_saved()
    (sky.plane.notify if with_notice else sky.plane.preempt)(sky.machine())
    sky.until_over("SUCCEEDED")
    assert sky.plane.count == 2
    assert_same(sky, steps=140)
    assert ("notice: aws: terminate" in sky.perdure("show", "otter").out) == with_notice


@pytest.mark.long
def test_cancelled_failed_interrupted_and_crash_looping_leave_no_managed_job(sky: Sky) -> None:
    sky.perdure("run", "--on", "sky", "--name", "killed", "-d", "train", "9000", "0.1")
    sky.until_saved()
    assert "killed `killed`" in sky.perdure("kill", "killed").err
    assert sky.job("killed")["state"] == "CANCELLED"
    sky.until(lambda: not sky.plane.alive)
    assert sky.plane.statuses()[0] in ("CANCELLED", "SUCCEEDED")
    first = sky.plane.statuses()
    failing = ("--retries", "0", "--", "python", "-c", "raise SystemExit(3)")
    sky.perdure("run", "--on", "sky", "--name", "failed", "-d", *failing)
    sky.until_over(*first, "SUCCEEDED")
    assert sky.job("failed")["state"] == "FAILED"
    # One that waits for a machine, and is interrupted, waits no longer.
    sky.perdure("run", "--on", "sky", "--name", "waits", "-d", "train", "20", "0.01")
    sky.perdure("interrupt", "waits")
    sky.until_over(*first, "SUCCEEDED", "CANCELLED")
    sky.perdure("resume", "waits", "-d")
    sky.until_over(*first, "SUCCEEDED", "CANCELLED", "SUCCEEDED")
    assert sky.job("waits")["state"] == "SUCCEEDED"
    sky.perdure("run", "--on", "sky", "--name", "loops", "-d", "--", "sleep", "1000")
    for turn in (1, 2):
        sky.until(lambda turn=turn: f"turn {turn} of `loops`" in sky.logs())  # type: ignore[misc]
        sky.plane.preempt(sky.machine())
    sky.until_over(*first, "SUCCEEDED", "CANCELLED", "SUCCEEDED", "SUCCEEDED")
    found = sky.job("loops")
    assert (found["state"], found["reason"]) == ("FAILED", "2 machines in a row made no progress")


def test_its_yaml_is_printed_and_asks_for_what_the_job_wants(sky: Sky) -> None:
    words = ("--gpus", "2", "--cpus", "8", "--memory", "32g", "--seed", "1")
    told = sky.perdure("run", "--on", "sky", "--explain", "--name", "otter", *words, "train").out
    text = told.partition("<<'END-OF-TASK'\n")[2].partition("END-OF-TASK\n")[0]
    task = yaml.safe_load(text)
    assert task["resources"] == {
        "use_spot": True,
        "disk_size": 100,
        "labels": {"perdure": task["resources"]["labels"]["perdure"], "perdure-job": "otter"},
        "job_recovery": {"recover_on_exit_codes": [75], "max_restarts_on_errors": 1},
        "cpus": "8+",
        "memory": "32+",
        "accelerators": {"L4": 2, "A10G": 2},
        "any_of": [{"infra": "aws/us-east-1"}, {"infra": "lambda"}],
    }
    assert f"--name {task['name']} task.yaml" in told
    assert "a-secret" not in told
    # Nobody was asked.
    assert not (sky.plane.server / "asked").exists()


def test_what_is_wrong_is_one_clear_error(sky: Sky) -> None:
    run = ("run", "--on", "sky", "--name", "otter", "-d", "train", "9", "0")
    sky.plane.is_("cloudless")
    assert is_one_error(sky.perdure(*run, code=4), 4, "no cloud that it can use", "sky check")
    sky.plane.is_("version 0.10.5")
    assert is_one_error(sky.perdure(*run, code=4), 4, "0.10.5 is too old", "uv tool upgrade")
    (sky.plane.programs / "sky").unlink()
    assert is_one_error(sky.perdure(*run, code=4), 4, "`sky` is not installed", "uv tool install")
    # Nothing of it is left, and its name is free.
    assert sky.perdure("ps", "-a", "--json").out.strip() == "[]"
    (sky.project / ".perdure/local.toml").write_text("")
    hint = ("no target `sky`", "[targets.sky]", 'kind = "sky"', "`bucket`: such as `s3://lab")
    assert is_one_error(sky.perdure(*run, code=2), 2, *hint)


def test_the_doctor_tells_of_clouds_and_of_what_skypilot_gave_up(sky: Sky) -> None:
    sky.perdure("run", "--on", "sky", "--name", "otter", "-d", "train", "9", "0")
    (job,) = sky.plane.jobs()
    sky.plane._write({**job, "failure_reason": "no L4 anywhere"}, "FAILED_NO_RESOURCE")
    said = json.loads(sky.perdure("doctor", "sky", "--json", code=None).out)["findings"]
    found = {each["name"]: each for each in said}
    assert found["credentials"]["seen"] == "SkyPilot 0.14.1", found
    assert found["clouds"]["seen"] == "AWS"
    assert found["otter"]["verdict"] == "problem"
    assert "FAILED_NO_RESOURCE no L4 anywhere" in found["otter"]["seen"]
    assert is_one_error(sky.perdure("cloud", "setup", "sky", code=2), 2, "needs no setup")


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("hangs", HostUnreachable, "did not end within 0.5 s"),
        ("version zero", EnvironmentFailed, "is no SkyPilot"),
    ],
)
def test_another_sky(
    mode: str, kind: type[PerdureError], words: str, sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sky_command, "_VERSION_S", 0.5 if mode == "hangs" else 60.0)
    sky.plane.is_(mode)
    with pytest.raises(kind, match=words):
        SkyCommand().version()


@pytest.mark.long
def test_a_job_comes_back_here_and_a_sweep_goes_there(sky: Sky) -> None:
    begin(sky, steps=140)
    sky.until_saved()
    sky.perdure("interrupt", "otter")
    sky.until_over("SUCCEEDED")
    assert sky.job("otter")["state"] == "INTERRUPTED"
    sky.perdure("resume", "otter", "--on", "local")
    assert_same(sky, steps=140)
    sweep = (*MAIN, "sweep", "--on", "sky", "--name", "two", "train", "seed=1,2", "--", "9", "0")
    with subprocess.Popen(sweep, cwd=sky.project, env={**os.environ, **sky.environ}) as driver:
        sky.until(lambda: driver.poll() is not None)
    assert driver.returncode == 0
    sky.until_over(*["SUCCEEDED"] * 3)


@pytest.mark.long
def test_what_skypilot_gave_up_is_lost_and_can_be_resumed(sky: Sky) -> None:
    sky.perdure("run", "--on", "sky", "--name", "otter", "-d", "train", "9", "0")
    (job,) = sky.plane.jobs()
    sky.plane._write({**job, "failure_reason": "no L4 anywhere"}, "FAILED_NO_RESOURCE")
    # What `ps` starts aside, after some minutes of waiting, settles it.
    witness = read_witness(sky.project / "results/otter")
    assert witness is not None
    station = witness.station
    words = (station.destination, station.engine.partition(":")[2])
    module = (sys.executable, "-m", "perdure.clouds.sky_standing", *words)
    subprocess.run(module, check=True, timeout=60, env={**os.environ, **sky.environ})
    found = sky.job("otter")
    assert (found["state"], found["reason"]) == (
        "LOST",
        "SkyPilot: FAILED_NO_RESOURCE no L4 anywhere, before it began",
    )
    sky.perdure("resume", "otter", "-d")
    sky.until_over("FAILED_NO_RESOURCE", "SUCCEEDED")
    assert sky.job("otter")["state"] == "SUCCEEDED"


def test_skypilot_is_asked_aside_and_seldom(
    sky: Sky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(local, "spawn_detached", lambda words, log: started.append(words))
    station = Station("s3://lab/perdure/cats-1", "/cats-1", f"sky:{REGION}")
    bucket = open_folder(parse_address(station.destination), REGION)
    line = BucketLine(tmp_path, station)
    standing.want(bucket, "otter")
    (said,) = line.call(looking.look, "", {"results/otter": {}}, True)["jobs"].values()
    assert (said["waits"], started) == ("waits for a machine", [])
    monkeypatch.setattr(sky_standing, "EVERY_S", -1000.0)
    line.call(looking.look, "", {"results/otter": {}}, True)
    (words,) = started
    assert words[1:] == ("-m", "perdure.clouds.sky_standing", station.destination, REGION)
    monkeypatch.setattr(sky_standing, "EVERY_S", 300.0)
    now = time.time()
    assert not sky_standing.look_aside(tmp_path, station, now)
    assert sky_standing.look_aside(tmp_path, station, now + 301)


def test_gibberish_is_no_answer(sky: Sky) -> None:
    sky.plane.is_("gibberish")
    with pytest.raises(HostUnreachable, match="no JSON"):
        SkyCommand().queue()
    with pytest.raises(HostUnreachable, match="what nobody knows"):
        sky_command.managed_of({"job_id": None})
    (sky.plane.programs / "sky").unlink()
    with pytest.raises(MissingProgram, match="not installed here"):
        SkyCommand().queue()
