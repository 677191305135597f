"""The recipes page on clouds, done by the letter up to where an account is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clouds.azure_plane import AzurePlane
from tests.clouds.google_plane import GooglePlane
from tests.clouds.test_spot import Cloud
from tests.clouds.test_spot import cloud as aws_cloud  # noqa: F401 - a fixture, found by its name
from tests.e2e.recipes import somebody_new
from tests.waiting import until

TAKEN = "the machine is taken away"
OURS = {
    # moto has no list of images; and nobody waits for machines that are gone.
    'types = ["m5.large", "m5.xlarge"]': 'types = ["m5.large"]\nimage = "ami-12c6146b"\nlease_s = 6'
}
_LOOK_S = 0.3


def until_gone(gone: Callable[[], bool], step: Callable[[], object]) -> None:
    """Return once a machine is gone; the cloud does its work meanwhile."""

    def there() -> bool:
        step()
        return gone()

    until(there, every_s=_LOOK_S)


@pytest.mark.install
@pytest.mark.timeout(900)
def test_spot_machines_of_aws(aws_cloud: Cloud, tmp_path: Path, user_settings: Path) -> None:  # noqa: F811
    machines = aws_cloud.machines
    somebody = somebody_new(tmp_path, user_settings, OURS)
    home = somebody.environ
    somebody.environ = {**home, **aws_cloud.environ, "HOME": home["HOME"]}
    somebody.meanwhile = machines.step

    def take_away() -> None:
        (machine,) = machines.alive()
        machines.notify(machine)
        until_gone(lambda: machine.process.poll() is not None, machines.step)

    somebody.happenings = {TAKEN: take_away}
    somebody.follow("project", "aws")
    assert len(machines.booted) == 2
    assert aws_cloud.tagged() == (0, 0, 0)


@pytest.mark.install
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["gcp", "azure"])
def test_spot_machines_of(
    name: str, tmp_path: Path, user_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in [*os.environ]:
        if each.startswith(("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(each)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    made = GooglePlane if name == "gcp" else AzurePlane
    plane = made(tmp_path / "machines")
    bucket = f"file://{tmp_path}/a bucket"
    here = {"gs://lab/perdure": bucket, "az://jobs/perdure": bucket}
    somebody = somebody_new(tmp_path, user_settings, here)
    somebody.environ = {**somebody.environ, **plane.user}
    somebody.meanwhile = plane.step

    def take_away() -> None:
        (machine,) = plane.alive.values()
        machine.told = True
        until_gone(lambda: machine.name not in plane.alive, plane.step)

    somebody.happenings = {TAKEN: take_away}
    try:
        somebody.follow("project", name)
        # What a group had is ended at the plane's next look.
        until_gone(lambda: not plane.alive, plane.step)
        assert (plane.count, plane.groups) == (2, {})
    finally:
        plane.close()
