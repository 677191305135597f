"""One project, unchanged, on every kind of target: interrupted on each, and one digest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.jobs.control import interrupt
from perdure.jobs.launch import begin, resume, submit, target_of
from perdure.jobs.lifecycle import read_status
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from perdure.targets.protocol import Handle
from tests.engines.engines import RealEngine
from tests.engines.hosts import Hosts
from tests.engines.slurm import Cluster
from tests.jobs.contained import Yard, make_yard, runtime_files
from tests.jobs.projects import until

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
TARGETS = ("local", "docker", "gpubox", "lab")
PATIENCE_S = 100.0
PYPROJECT = """\
[project]
name = "cats"
[tool.perdure]
[tool.perdure.targets.lab]
kind = "slurm"
[tool.perdure.targets.gpubox]
host = "root@gpu1"
engine = "process"
"""


@pytest.fixture
def yard(
    tmp_path: Path,
    old_engine: RealEngine,
    slurm: Cluster,
    hosts_here: Hosts,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Yard]:
    """Return a project with a target of each kind."""
    # Where each kind of target finds its own way to `import perdure`, this one brings it along.
    files = {"train.py": TRAINING, "pyproject.toml": PYPROJECT}
    made = make_yard(tmp_path / "a 'project'", old_engine, monkeypatch, files)
    for name, path in runtime_files().items():
        (made.workspace.project.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, made.workspace.project.root / name)
    root = hosts_here.place("gpu1") / f"everywhere {tmp_path.name}"
    targets = {
        "lab": TargetSettings("", "slurm", "slurm", slurm=SlurmSettings()),
        "gpubox": TargetSettings("root@gpu1", "ssh", "process", str(root)),
    }
    settings = Settings(targets=MappingProxyType(targets))
    yield replace(made, workspace=replace(made.workspace, settings=settings))
    made.clear()
    shutil.rmtree(root, ignore_errors=True)


def digest(workspace: Workspace, target: str, *, stopped: bool) -> str:
    """Return what the training comes to on a target, also if it is interrupted in the middle."""
    pause = "0.05" if stopped else "0"
    request = JobRequest("train", (pause,), grace_s=10.0, retries=0, seed=7, target=target)
    record = submit(workspace, request)
    begin(workspace, record)

    def state() -> State:
        return read_status(record.folder).state

    if stopped:
        until(lambda: (read_status(record.folder).step or 0) >= 3, patience_s=PATIENCE_S)
        interrupt(record.folder, reason="asked")
        until(lambda: state() is State.INTERRUPTED, patience_s=PATIENCE_S)
        resume(workspace, record)
    until(lambda: state() is State.SUCCEEDED, patience_s=PATIENCE_S)
    handle = Handle(target, record.job, record.folder)
    said = target_of(workspace, record).logs(handle).decode()
    return next(line for line in said.splitlines() if line.startswith("digest "))


@pytest.mark.timeout(400)
def test_one_project_comes_to_one_digest_wherever_it_runs(yard: Yard) -> None:
    wanted = digest(yard.workspace, "local", stopped=False)
    found = {name: digest(yard.workspace, name, stopped=True) for name in TARGETS}
    assert found == dict.fromkeys(TARGETS, wanted)
