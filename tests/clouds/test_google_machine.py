"""A job on machines of GCP with a kernel: the metadata server's user-data, and a power button.

The control plane is the tests' own, the bucket speaks Google's XML API, machines run Debian under
QEMU. Nothing here has a way to another network.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from perdure.runtime.result import read_result
from tests.clouds.test_machine import PATIENCE_S, bring_along, image
from tests.clouds.test_planes import GCP, Cloud
from tests.clouds.test_spot import PROJECT, TRAINING
from tests.clouds.virtual import VirtualGooglePlane
from tests.engines import google, vm

__all__ = ["image"]

STEPS = 300
# All servers of a process have the same buckets.
BUCKET = f"lab{uuid.uuid4().hex}"


@dataclass
class GoogleCloud(Cloud):
    """A user of a GCP whose bucket is a server."""

    def saved_steps(self) -> list[int]:
        """Return the steps of the checkpoints in the bucket."""
        assert isinstance(self.plane, VirtualGooglePlane)
        with urlopen(f"{self.plane.storage}/{BUCKET}?list-type=2", timeout=60) as answer:
            keys = re.findall(r"<Key>([^<]*)</Key>", answer.read().decode())
        found = [key for key in keys if "/checkpoints/g" in key and key.endswith(".json")]
        return [int(key[-15:-5]) for key in found]

    def until_saved_after(self, step: int) -> None:
        """Return once there is a later checkpoint in the bucket."""
        self.until(lambda: max(self.saved_steps(), default=0) > step)


@pytest.fixture
def cloud(
    image: vm.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GoogleCloud]:
    for name in [*os.environ]:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setattr(VirtualGooglePlane, "image", image, raising=False)
    project = tmp_path / "a laptop" / "cats"
    (project / ".perdure").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "train.py").write_text(TRAINING)
    text = GCP.format(bucket=f"gs://{BUCKET}/perdure").replace("lease_s = 6", "lease_s = 20")
    (project / ".perdure/local.toml").write_text(text)
    # A socket's path is to be short.
    folder = Path(tempfile.mkdtemp(prefix="perdure-vm-"))
    with google.serve() as storage:
        google.make_bucket(storage, BUCKET)
        monkeypatch.setattr(VirtualGooglePlane, "storage", storage, raising=False)
        plane = VirtualGooglePlane(folder)
        offline = {"UV_OFFLINE": "1", "UV_NO_CONFIG": "1", "PIP_CONFIG_FILE": "/dev/null"}
        environ = {**plane.user, **offline, "UV_CACHE_DIR": str(tmp_path / "cache")}
        environ |= {"HOME": str(tmp_path), "STORAGE_EMULATOR_HOST": storage}
        yield GoogleCloud(project, environ, plane, patience_s=PATIENCE_S)
        plane.close()
    shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_job_survives_a_machine_that_is_preempted_and_turned_off(cloud: GoogleCloud) -> None:
    bring_along(cloud.project)
    arguments = ("--seed", "7", "train", str(STEPS), "0.1")
    cloud.perdure("run", "--name", "alone", *arguments[:-1], "0")
    cloud.perdure("run", "--on", "cloud", "--name", "otter", "-d", *arguments)
    for is_told in (True, False):
        cloud.until_saved_after(max(cloud.saved_steps(), default=0))
        machine = cloud.machine()
        # A preemption without seconds of its own: the button is pressed at once.
        machine.told = is_told
        vm.press_power(machine.folder)
        cloud.until(lambda name=machine.name: name not in cloud.plane.alive)  # type: ignore[misc]
    cloud.until_gone()
    assert cloud.plane.count == 3
    found = cloud.job("otter")
    assert (found["state"], found["step"]) == ("SUCCEEDED", STEPS), cloud.logs()
    results = cloud.project / "results"
    assert read_result(str(results / "otter")) == read_result(str(results / "alone"))
    for attempt in (1, 2):
        events = (results / f"otter/attempts/{attempt:06d}.jsonl").read_text()
        assert '"ended"' in events, events
    cloud.perdure("reap", "--on", "cloud", "--yes")
    assert not cloud.plane.groups
