"""Jobs on GCP and Azure: what a user types, against control planes of the tests' own.

Processes stand in for machines, booted by their user-data; the bucket is a folder of this machine.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.runtime.result import read_result
from tests.cli.command import is_one_error
from tests.clouds.azure_plane import AzurePlane
from tests.clouds.google_plane import GooglePlane
from tests.clouds.planes import Machine, Plane
from tests.clouds.submitter import Submitter
from tests.clouds.test_spot import PROJECT, TRAINING

GCP = """\
[targets.cloud]
kind = "gcp"
project = "my-project"
region = "europe-west4"
types = ["e2-standard-4", "e2-standard-8"]
bucket = "{bucket}"
lease_s = 6
max_restarts = 1
ssh_from = ["127.0.0.0/8"]
"""
_AZURE = """\
[targets.cloud]
kind = "azure"
subscription = "00000000-1111-2222-3333-444444444444"
group = "perdure"
account = "labstorage"
region = "westeurope"
types = ["Standard_D4s_v5"]
bucket = "{bucket}"
lease_s = 6
max_restarts = 1
ssh_from = ["127.0.0.0/8"]
"""


@dataclass
class Cloud(Submitter):
    """A user with a project, and a control plane whose machines this test is."""

    plane: Plane

    @property
    def folder_of_machines(self) -> Path:
        return self.plane.folder

    def step(self) -> None:
        self.plane.step()

    def until_gone(self) -> None:
        """Return once the cloud has no machine, and its groups want none."""
        self.until(lambda: not self.plane.alive and not any(map(self.wants, self.plane.groups)))

    def wants(self, name: str) -> bool:
        return self.plane.wants(self.plane.groups[name])

    def machine(self) -> Machine:
        self.until(lambda: bool(self.plane.alive))
        return next(iter(self.plane.alive.values()))

    def take_away(self, machine: Machine) -> None:
        """Tell a machine that it is taken away; return once it is gone."""
        machine.told = True
        self.until(lambda: machine.name not in self.plane.alive)

    def until_saved(self, more_than: int = 0) -> None:
        self.until(lambda: len(self.saved()) > more_than)

    def saved(self) -> list[Path]:
        return sorted((self.project.parent / "a bucket").glob("*/jobs/*/checkpoints/g*.json"))


@pytest.fixture(params=["gcp", "azure"])
def cloud(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    for name in [*os.environ]:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    project = tmp_path / "a laptop" / "cats"
    (project / ".perdure").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "train.py").write_text(TRAINING)
    is_google = request.param == "gcp"
    text = (GCP if is_google else _AZURE).format(bucket=f"file://{project.parent}/a bucket")
    (project / ".perdure/local.toml").write_text(text)
    plane = (GooglePlane if is_google else AzurePlane)(tmp_path / "machines")
    yield Cloud(project, {**plane.user, "HOME": str(tmp_path)}, plane)
    plane.close()


def test_a_job_is_preempted_goes_on_and_leaves_nothing(cloud: Cloud) -> None:
    arguments = ("--seed", "7", "train", "40", "0.05")
    cloud.perdure("run", "--name", "alone", *arguments)
    cloud.perdure("run", "--on", "cloud", "--name", "otter", "-d", *arguments)
    cloud.until_saved()
    cloud.take_away(cloud.machine())
    cloud.until_gone()
    assert cloud.plane.count == 2
    found = cloud.job("otter")
    assert (found["state"], found["step"]) == ("SUCCEEDED", 40), cloud.logs()
    results = cloud.project / "results"
    assert read_result(str(results / "otter")) == read_result(str(results / "alone"))
    told = cloud.perdure("show", "otter").out
    assert "preempt" in told
    (cost,) = json.loads(cloud.perdure("cost", "--json").out)
    assert (cost["job"], cost["machines"]) == ("otter", 2)
    # Of another Azure than Microsoft's own the list of prices tells nothing.
    is_google = isinstance(cloud.plane, GooglePlane)
    assert cost["saved"] == (pytest.approx(2 / 3) if is_google else None)
    assert cloud.plane.groups
    cloud.perdure("reap", "--on", "cloud", "--yes")
    assert not cloud.plane.groups
    assert not getattr(cloud.plane, "templates", {})


def test_cancelled_failed_and_crash_looping_all_end_at_none(cloud: Cloud) -> None:
    cloud.perdure("run", "--on", "cloud", "--name", "killed", "-d", "train", "9000", "0.1")
    cloud.until_saved()
    seen = cloud.perdure("attach", "killed", "--", "sh", "-c", "pwd; exec 3<train.py")
    assert "/opt/perdure/project/.perdure/snapshots/" in seen.out
    assert "asking the machine of `killed` to let us in" in seen.err
    assert "killed `killed`" in cloud.perdure("kill", "killed").err
    assert cloud.job("killed")["state"] == "CANCELLED"
    cloud.until_gone()
    failing = ("--retries", "0", "--", "python", "-c", "raise SystemExit(3)")
    cloud.perdure("run", "--on", "cloud", "--name", "failed", "-d", *failing)
    cloud.until_gone()
    assert cloud.job("failed")["state"] == "FAILED"
    # Each machine is gone before it has saved anything.
    cloud.perdure("run", "--on", "cloud", "--name", "loops", "-d", "--", "sleep", "1000")
    for turn in (1, 2):
        cloud.until(lambda turn=turn: f"turn {turn} of `loops`" in cloud.logs())  # type: ignore[misc]
        cloud.take_away(cloud.machine())
    cloud.until_gone()
    found = cloud.job("loops")
    assert (found["state"], found["reason"]) == ("FAILED", "2 machines in a row made no progress")


def test_a_second_submission_of_a_job_finds_the_first(cloud: Cloud) -> None:
    run = ("run", "--on", "cloud", "--name", "otter", "-d", "train", "9000", "0.1")
    cloud.perdure(*run)
    assert is_one_error(cloud.perdure(*run, code=3), 3, "there is a job `otter` already")
    assert is_one_error(cloud.perdure("resume", "otter", code=3), 3, "already running")
    cloud.perdure("interrupt", "--no-wait", "otter")
    assert not any(map(cloud.wants, cloud.plane.groups))
    with ThreadPoolExecutor(2) as both:
        # At once, as from two terminals: neither has seen the other's.
        ended = list(
            both.map(lambda _: cloud.perdure("resume", "-d", "otter", code=None), range(2))
        )
    assert {each.code for each in ended} <= {0, 3}, ended
    assert 0 in {each.code for each in ended}
    assert sum(map(cloud.wants, cloud.plane.groups)) == 1
    cloud.perdure("kill", "otter")
    cloud.until_gone()


def test_a_cloud_is_examined_and_explained(cloud: Cloud) -> None:
    is_google = isinstance(cloud.plane, GooglePlane)
    explained = cloud.perdure("run", "--on", "cloud", "--explain", "train", "9", "0").out
    assert ("curl -sS -X POST" if is_google else "az rest --method put") in explained
    price = "# e2-standard-4: $0.056 an hour, $1.34 at most; on demand $0.168: 67% saved"
    assert (price if is_google else "# prices are not told here") in explained
    assert not cloud.plane.groups
    said = json.loads(cloud.perdure("doctor", "cloud", "--json").out)["findings"]
    verdicts = {each["name"]: each["verdict"] for each in said}
    assert verdicts["machines"] == verdicts["quota"] == verdicts["bucket"] == "ok"
    lacks = "compute.disks.create" if is_google else "Microsoft.Compute/virtualMachines/write"
    cloud.plane.may -= {("project", lacks), ("group", lacks)}
    said = json.loads(cloud.perdure("doctor", "cloud", "--json", code=None).out)["findings"]
    assert [each["name"] for each in said if each["verdict"] == "problem"] == [lacks]
    file = cloud.project / ".perdure/local.toml"
    file.write_text(file.read_text() + 'market = "on-demand"\n')
    said = json.loads(cloud.perdure("doctor", "cloud", "--json", code=None).out)["findings"]
    none = [each["seen"] for each in said if each["name"] == "quota" and each["verdict"] != "ok"]
    assert none == ["CPUS: 0 left" if is_google else "standardDSv5Family: 0 left"]


def test_what_is_wrong_is_one_clear_error(cloud: Cloud) -> None:
    run = ("run", "--on", "cloud", "--name", "otter", "-d", "train", "9", "0")
    is_google = isinstance(cloud.plane, GooglePlane)
    gpus = cloud.perdure("run", "--on", "cloud", "--gpus", "1", "train", code=2)
    assert is_one_error(gpus, 2, "fewer than 1 GPUs")
    if isinstance(cloud.plane, GooglePlane):
        # A group would be made, and wait.
        cloud.plane.limits = (0, 0)
        assert is_one_error(cloud.perdure(*run, code=4), 4, "a quota is 0: CPUS")
        cloud.plane.limits = (8, 4)
    cloud.plane.refusal = (403, {"error": {"message": "Quota exceeded for PREEMPTIBLE_CPUS"}})
    assert is_one_error(cloud.perdure(*run, code=4), 4, "a quota is reached")
    cloud.plane.refusal = (403, {"error": {"message": "does not have authorization"}})
    assert is_one_error(cloud.perdure(*run, code=4), 4, "permission denied", "cloud setup")
    # Nothing of it is left, and its name is free.
    assert cloud.perdure("ps", "-a", "--json").out.strip() == "[]"
    cloud.plane.refusal = None
    file = cloud.project / ".perdure/local.toml"
    text = file.read_text()
    size = "e2-standard-8" if is_google else "Standard_D4s_v5"
    file.write_text(text.replace(size, "e2-huge-9" if is_google else "Standard_Z9"))
    assert is_one_error(cloud.perdure(*run, code=2), 2, "has no machines")
    file.write_text(text)
    # Nobody listens there.
    cloud.environ |= dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP"), "127.0.0.1:9")
    del cloud.environ["IDENTITY_ENDPOINT" if not is_google else "GCE_METADATA_IP"]
    cloud.environ |= {"NO_GCE_CHECK": "true", "AZURE_TOKEN_CREDENTIALS": "prod"}
    cloud.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = "http://127.0.0.1:9"
    assert is_one_error(cloud.perdure(*run, code=None), 4, "no credentials")
