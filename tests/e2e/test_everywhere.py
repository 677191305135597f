"""One project, unchanged, on every kind of target: interrupted on each, and one digest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.jobs.control import interrupt
from perdure.jobs.folder import is_alive
from perdure.jobs.launch import begin, resume, submit, target_of
from perdure.jobs.lifecycle import read_status
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.settings import KubernetesSettings, Settings, SlurmSettings, TargetSettings
from perdure.targets.protocol import Handle
from tests.engines.engines import RealEngine
from tests.engines.hosts import Hosts
from tests.engines.kubernetes import CLAIM, NAMESPACE, USER_ID
from tests.engines.kubernetes import Cluster as Pods
from tests.engines.slurm import Cluster
from tests.jobs.contained import Yard, make_yard, runtime_files
from tests.waiting import until

#: Its state forgets no step, and its random numbers come back with it.
TRAINING = """\
import hashlib, random, sys, time
import perdure

run = perdure.start(seed=7)
state = {"weight": 0.0}
run.track(state=state)
loader = run.loader(list(range(160)), batch_size=4, shuffle=True)
for epoch in run.epochs(1):
    for batch in loader:
        state["weight"] = 0.9 * state["weight"] + random.random() * sum(batch)
        run.log(weight=state["weight"])
        time.sleep(float(sys.argv[1]))
print("digest", hashlib.sha256(repr(state["weight"]).encode()).hexdigest(), flush=True)
"""
TARGETS = ("local", "docker", "gpubox", "lab", "k8s")
PYPROJECT = """\
[project]
name = "cats"
[tool.perdure]
[tool.perdure.targets.lab]
kind = "slurm"
[tool.perdure.targets.gpubox]
host = "root@gpu1"
engine = "process"
[tool.perdure.targets.k8s]
kind = "kubernetes"
image = "IMAGE"
results = "results"
namespace = "research"
"""


@pytest.fixture
def clusters(
    slurm: Cluster, hosts_here: Hosts, kubernetes: Pods, kubernetes_image: str
) -> tuple[Hosts, str]:
    """Return other hosts, and an image that pods have; there is a Slurm, too."""
    return hosts_here, kubernetes_image


def bring_runtime(root: Path) -> None:
    """Put into a project what it imports, readable for whom pods run as."""
    for name, path in runtime_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, root / name)
    for path in (root, *root.rglob("*")):
        os.chown(path, USER_ID, USER_ID)


@pytest.fixture
def yard(
    tmp_path: Path,
    old_engine: RealEngine,
    clusters: tuple[Hosts, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Yard]:
    """Return a project with a target of each kind."""
    hosts, image = clusters
    # Where each kind of target finds its own way to `import perdure`, this one brings it along.
    settled = PYPROJECT.replace("IMAGE", image)
    files = {"train.py": TRAINING, "pyproject.toml": settled}
    made = make_yard(tmp_path / "a 'project'", old_engine, monkeypatch, files)
    bring_runtime(made.workspace.project.root)
    root = hosts.place("gpu1") / f"everywhere {tmp_path.name}"
    targets = {
        "lab": TargetSettings("", "slurm", "slurm", slurm=SlurmSettings()),
        "gpubox": TargetSettings("root@gpu1", "ssh", "process", str(root)),
        "k8s": TargetSettings(
            "",
            "kubernetes",
            "kubernetes",
            sync="none",
            kubernetes=KubernetesSettings(image, CLAIM, namespace=NAMESPACE),
        ),
    }
    settings = Settings(targets=MappingProxyType(targets))
    yield replace(made, workspace=replace(made.workspace, settings=settings))
    made.clear()
    shutil.rmtree(root, ignore_errors=True)


def digest(workspace: Workspace, target: str, *, stopped: bool) -> str:
    """Return what the training comes to on a target, also if it is interrupted in the middle."""
    pause = "0.05" if stopped else "0"
    command = ("python3", "train.py", pause)
    request = JobRequest(command=command, grace_s=10.0, retries=0, seed=7, target=target)
    record = submit(workspace, request)
    begin(workspace, record)

    def state() -> State:
        return read_status(record.folder).state

    if stopped:
        until(lambda: (read_status(record.folder).step or 0) >= 3)
        interrupt(record.folder, reason="asked")
        until(lambda: state() is State.INTERRUPTED)
        until(lambda: not is_alive(record.folder))
        resume(workspace, record)
    until(lambda: state() is State.SUCCEEDED)
    handle = Handle(target, record.job, record.folder)
    said = target_of(workspace, record).logs(handle).decode()
    return next(line for line in said.splitlines() if line.startswith("digest "))


@pytest.mark.long
@pytest.mark.timeout(400)
def test_one_project_comes_to_one_digest_wherever_it_runs(yard: Yard) -> None:
    wanted = digest(yard.workspace, "local", stopped=False)
    found = {name: digest(yard.workspace, name, stopped=True) for name in TARGETS}
    assert found == dict.fromkeys(TARGETS, wanted)
