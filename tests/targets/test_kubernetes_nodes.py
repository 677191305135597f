"""A training on both nodes of a real Kubernetes: torchrun in two pods, and all stop at one step."""

from __future__ import annotations

import json
import sysconfig

import pytest

from perdure.jobs.control import kill
from perdure.jobs.workspace import Workspace
from perdure.model.job import UNLIMITED, JobRecord, Resources, State
from perdure.runtime import names
from perdure.targets.kubernetes_nodes import led
from perdure.targets.protocol import Handle
from perdure.targets.registry import open_target
from tests.engines.kubernetes import Cluster
from tests.targets.kubernetes_project import (  # noqa: F401 - some are fixtures
    NAME,
    QUICK,
    forgotten,
    one_project,
    started,
    with_cluster,
    with_settings,
)
from tests.targets.slurm_project import until_gone, until_step
from tests.targets.test_slurm_nodes import STEPS, TRAINING, expected
from tests.waiting import until

#: The image has no torch: the pods get this machine's, which has the same Python. The cluster has
#: no DNS: who asks for a name is refused at once, and does not wait for an answer.
SITE = sysconfig.get_path("platlib")
LINES = (
    f'spec.template.spec.volumes.-: {{"name": "site", "hostPath": {{"path": "{SITE}"}}}}',
    f'spec.template.spec.containers.0.volumeMounts.-: {{"name": "site", "mountPath": "{SITE}"}}',
    f"spec.template.spec.containers.0.env.1.value: {SITE}",
    'spec.template.spec.containers.0.env.-: {"name": "OMP_NUM_THREADS", "value": "1"}',
    "spec.template.spec.dnsPolicy: None",
    'spec.template.spec.dnsConfig: {"nameservers": ["127.0.0.1"]}',
    *QUICK,
)
TWO = Resources(nodes=2)


@pytest.fixture
def torch(workspace: Workspace) -> Workspace:
    (workspace.project.root / "train.py").write_text(TRAINING)
    return with_settings(workspace, lines=LINES)


def stops(record: JobRecord) -> list[int]:
    """Return the codes with which the first attempt said that it ends."""
    path = record.folder / names.ATTEMPTS / names.numbered(1, ".jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [each["code"] for each in events if each["event"] == "exiting"]


def came_to(workspace: Workspace, record: JobRecord) -> list[float]:
    """Return what each rank came to, fetched from the volume."""
    target = open_target(NAME, workspace.project, workspace.settings)
    target.collect(Handle(NAME, record.job, record.folder))
    outputs = record.folder / "outputs"
    return [float((outputs / f"sum-{rank}-of-2").read_text()) for rank in (0, 1)]


@pytest.mark.long
@pytest.mark.parametrize("part", ["1", "0"])
def test_one_pod_is_deleted_and_all_ranks_save_at_one_step(
    torch: Workspace, kubernetes: Cluster, part: str
) -> None:
    record = started(torch, str(STEPS), "0.1", grace_s=20, resources=TWO)
    until_step(record)
    pods = {each["metadata"]["labels"]["perdure.dev/part"]: each for each in kubernetes.pods()}
    assert {each["spec"]["nodeName"] for each in pods.values()} == {"node1", "node2"}
    kubernetes.ask("delete", "pod", pods[part]["metadata"]["name"], "--wait=false")
    status = until_gone(record)
    assert status.state is State.SUCCEEDED, status
    assert status.attempt == 2
    assert stops(record) == [names.EXIT_INTERRUPTED]
    assert came_to(torch, record) == [expected(), expected()]
    until(lambda: not kubernetes.pods())


@pytest.mark.long
def test_a_node_that_dies_is_no_crash(torch: Workspace, kubernetes: Cluster) -> None:
    record = started(torch, "60", "0.2", grace_s=20, resources=TWO)
    until_step(record)
    (lost,) = [
        each["spec"]["nodeName"]
        for each in kubernetes.pods()
        if each["metadata"]["labels"]["perdure.dev/part"] == "1"
    ]
    kubernetes.kill(lost)
    until_step(record, attempt=2, step=5)
    kubernetes.start(lost)
    assert until_gone(record).state is State.SUCCEEDED
    assert len(set(came_to(torch, record))) == 1


@pytest.mark.long
def test_killed_nothing_of_it_is_left(torch: Workspace, kubernetes: Cluster) -> None:
    record = started(torch, "1000", "0.1", resources=TWO)
    until_step(record)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert kubernetes.pods() == []


def test_one_node_needs_no_torchrun() -> None:
    assert led(("python3", "x"), "/run", 0, ("python3", "train.py"), UNLIMITED) == (
        "python3",
        "train.py",
    )


def test_a_process_trains_on_each_gpu_of_each_node() -> None:
    words = led(("python3", "x"), "/run", 4, ("a b",), Resources(nodes=4, gpus=8))
    assert words == ("python3", "x", "--lead", "/run", "4", "8", "4", "--", "a b")
