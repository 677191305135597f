"""A job in an image: begun in a container, gone on with in a pod, and on a machine of a cloud."""

from __future__ import annotations

import re

import pytest

from perdure.runtime.result import read_result
from tests.clouds.test_images import LONG, QUICK, STEPS, Yard, only_google, yard
from tests.clouds.test_planes import cloud
from tests.engines.engines import RealEngine
from tests.engines.kubernetes import CLAIM, NAMESPACE, Cluster
from tests.engines.small import small_image
from tests.targets.test_kubernetes_registry import registry

__all__ = ["cloud", "registry", "yard"]

_TARGET = """
[targets.k8s]
kind = "kubernetes"
namespace = "{namespace}"
registry = "{registry}/team/cats"
results = "{claim}"
"""


@pytest.mark.long
@only_google
def test_a_job_goes_from_a_container_to_a_pod_to_a_cloud(
    kubernetes: Cluster, registry: str, yard: Yard, old_engine: RealEngine
) -> None:
    cloud = yard.cloud
    tag = re.search(r"--tag=(\S+)", cloud.perdure("build", "--explain").out)
    assert tag is not None
    # The one that has a shell: pods are asked by it.
    old_engine.docker("tag", small_image(old_engine).id, tag[1])
    with (cloud.project / ".perdure/local.toml").open("a") as file:
        file.write(_TARGET.format(namespace=NAMESPACE, registry=registry, claim=CLAIM))
    cloud.perdure("run", "--name", "alone", *QUICK)
    cloud.perdure("run", "--on", "docker", "--name", "otter", "-d", *LONG)
    cloud.until(lambda: (cloud.job("otter")["step"] or 0) >= 20)
    cloud.perdure("interrupt", "otter")
    cloud.perdure("resume", "-d", "otter", "--on", "k8s")
    assert len(kubernetes.pods()) == 1
    cloud.until(lambda: (cloud.job("otter")["step"] or 0) >= 40)
    cloud.perdure("interrupt", "otter")
    assert cloud.job("otter")["target"] == "k8s"
    sent = cloud.perdure("resume", "-d", "otter", "--on", "cloud")
    assert "the image is in the bucket" in sent.err
    cloud.until_gone()
    found = cloud.job("otter")
    assert (found["target"], found["state"], found["step"]) == ("cloud", "SUCCEEDED", STEPS)
    cloud.perdure("pull", "results", "otter", "--on", "cloud")
    results = cloud.project / "results"
    assert read_result(str(results / "otter")) == read_result(str(results / "alone"))
