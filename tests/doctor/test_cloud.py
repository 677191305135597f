"""What is found of a cloud that is this machine's own: the engine that builds images for it."""

from __future__ import annotations

import json

import pytest

from tests.clouds.test_planes import Cloud, cloud
from tests.engines.engines import RealEngine

__all__ = ["cloud"]


def findings(cloud: Cloud) -> dict[str, dict[str, str]]:
    said = json.loads(cloud.perdure("doctor", "cloud", "--json", code=None).out)
    return {each["name"]: each for each in said["findings"]}


@pytest.mark.parametrize("cloud", ["gcp"], indirect=True)
def test_an_engine_is_wanted_where_jobs_run_in_an_image(
    cloud: Cloud, modern_engine: RealEngine
) -> None:
    engine = findings(cloud)["engine"]
    assert (engine["verdict"], engine["seen"][:14]) == ("ok", "none is needed")
    file = cloud.project / ".perdure/local.toml"
    file.write_text(f'{file.read_text()}engine = "docker"\n')
    found = findings(cloud)
    assert (found["engine"]["verdict"], found["buildkit"]["verdict"]) == ("ok", "ok")
    assert found["engine"]["seen"].startswith("docker 26")
    cloud.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    found = findings(cloud)
    assert found["engine"]["verdict"] == "problem"
    assert "images for `cloud` are built here: start Docker" in found["engine"]["remedy"]
    assert "buildkit" not in found
    # What the cloud itself has is told all the same.
    assert found["bucket"]["verdict"] == "ok"
