"""Projects whose jobs a real Slurm runs, and a training that shows what it went through."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from perdure.jobs.folder import is_alive
from perdure.jobs.launch import JobRequest, begin, start, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import UNLIMITED, JobRecord, JobStatus, Resources, State
from perdure.model.project import Project
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from tests.jobs.projects import make_project
from tests.waiting import PATIENCE_S, until

#: Trains so many steps of so many seconds, and leaves a digest of all that it went through.
TRAINING = """\
import hashlib, os, random, sys, time
import perdure

steps, pause = int(sys.argv[1]), float(sys.argv[2])
if os.environ["PERDURE_ATTEMPT"] != "1":
    pause /= 5  # what was to be seen was seen
run = perdure.start(seed=7)
state = {"weight": 0.0}
run.track(state=state)
loader = run.loader(list(range(steps * 4)), batch_size=4, shuffle=True)
for epoch in run.epochs(1):
    for batch in loader:
        state["weight"] = 0.9 * state["weight"] + random.random() * sum(batch)
        run.log(weight=state["weight"])
        time.sleep(pause)
digest = hashlib.sha256(repr(state["weight"]).encode()).hexdigest()
with open(os.path.join(os.environ["PERDURE_RUN_DIR"], "outputs", "digest"), "w") as file:
    file.write(digest)
print(os.environ.get("SLURMD_NODENAME"), digest)
"""


def slurm_workspace(
    root: Path, settings: SlurmSettings | None = None, python: str = sys.executable
) -> Workspace:
    """Return a project with the task `train` and the target `lab`: a Slurm of this machine."""
    files = {"train.py": TRAINING}
    project = make_project(root, files, train=f"{python} train.py")
    lab = TargetSettings("", "slurm", "slurm", slurm=settings or SlurmSettings())
    return Workspace(project, Settings(targets=MappingProxyType({"lab": lab})))


def with_settings(workspace: Workspace, settings: SlurmSettings) -> Workspace:
    """Return the workspace with another Slurm as `lab`."""
    lab = replace(workspace.settings.targets["lab"], slurm=settings)
    return replace(workspace, settings=Settings(targets=MappingProxyType({"lab": lab})))


def started(
    workspace: Workspace,
    *arguments: str,
    grace_s: float = 10.0,
    resources: Resources = UNLIMITED,
) -> JobRecord:
    """Return a training that Slurm was given."""
    request = JobRequest(
        "train",
        arguments,
        seed=7,
        grace_s=grace_s,
        retries=0,
        target="lab",
        resources=resources,
    )
    record = submit(workspace, request)
    begin(workspace, record)
    return record


def until_state(record: JobRecord, *states: State) -> JobStatus:
    """Return the status of a job once it stands in one of the states."""
    until(lambda: read_status(record.folder).state in states)
    return read_status(record.folder)


def until_step(
    record: JobRecord, step: int = 3, attempt: int = 1, patience_s: float = PATIENCE_S
) -> JobStatus:
    """Return the status of a job once an attempt has come so far."""

    def there() -> bool:
        found = read_status(record.folder)
        return (found.step or 0) >= step and found.attempt >= attempt

    until(there, patience_s=patience_s)
    return read_status(record.folder)


def until_gone(record: JobRecord) -> JobStatus:
    """Return the status of a job once nobody has it any more."""
    until(lambda: not is_alive(record.folder))
    return read_status(record.folder)


def digest(record: JobRecord) -> str:
    """Return what a training came to."""
    return (record.folder / "outputs" / "digest").read_text()


_undisturbed: dict[str, str] = {}


def expected(project: Project, steps: str) -> str:
    """Return what the training comes to when nobody disturbs it, on this machine."""
    if steps not in _undisturbed:
        workspace = Workspace(project, Settings())
        record = submit(workspace, JobRequest("train", (steps, "0"), seed=7, grace_s=5.0))
        start(workspace, record)
        until(lambda: not is_alive(record.folder))
        _undisturbed[steps] = digest(record)
    return _undisturbed[steps]


def node_of(record: JobRecord, jobs: Callable[[], list[list[str]]]) -> str:
    """Return the node that a job runs on."""
    return next(node for _, _, comment, node in jobs() if comment.endswith(f":{record.job}"))


def configure(folder: Path, text: str) -> None:
    """Write the user's settings, for commands that a test runs."""
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "perdure" / "config.toml"
    assert folder in path.parents
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
