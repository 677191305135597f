"""Projects made of values, jobs made of small programs, and waiting for real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from perdure.jobs.launch import JobRequest, start, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, JobStatus, State
from perdure.model.project import Project, Task
from perdure.model.settings import Settings
from tests.waiting import until

#: A training that says how far it is, and saves when it is asked to stop. Ends after so many steps.
TRAINING = """\
import json, os, signal, socket, sys, time

channel = socket.socket(fileno=os.dup(int(os.environ["PERDURE_CTL_FD"])))
asked = []
signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
folder = os.environ["PERDURE_RUN_DIR"]
saved = os.path.join(folder, "outputs", "step")

def tell(event, **fields):
    try:
        channel.sendall((json.dumps({"event": event, **fields}) + "\\n").encode())
    except OSError:
        pass  # the supervisor is gone

def save(step):
    with open(saved + ".part", "w") as file:
        file.write(str(step))
    os.replace(saved + ".part", saved)
    tell("durable", step=step, bytes=1, seconds=0.0, reason="asked")

tell("hello", pid=os.getpid(), api=1, python="3", torch=None, world=1)
step = int(open(saved).read()) if os.path.exists(saved) else 0
generation = 1 if step else None
tell("restored", step=step, generation=generation, seconds=0.0)
print("from step", step, flush=True)
last = int(sys.argv[1])
while step < last:
    step += 1
    tell("step", step=step)
    if step == 3:
        save(step)
    if asked:
        save(step)
        tell("exiting", code=75, step=step, durable_step=step, reason="interrupted")
        sys.exit(75)
    time.sleep(0.01 if last > 100 else 0)
print("done at", step, flush=True)
save(step)
"""
FOREVER = "1000000"


def make_project(root: Path, files: Mapping[str, str] | None = None, **tasks: str) -> Project:
    """Return a project in `root` that needs no environment; a task's command is split at spaces."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text('[project]\nname = "cats"\n[tool.perdure]\n')
    for name, text in (files or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    named = {name: Task(name, tuple(command.split(" "))) for name, command in tasks.items()}
    return Project(root, "cats", "cats", named)


def training(root: Path) -> Workspace:
    """Return a workspace whose task `train` is a training that can be interrupted."""
    project = make_project(root, {"train.py": TRAINING}, train=f"{sys.executable} train.py")
    return Workspace(project, Settings())


def submitted(workspace: Workspace, *arguments: str, name: str | None = None) -> JobRecord:
    """Return the task `train`, submitted with a short grace."""
    return submit(
        workspace, JobRequest("train", arguments, name=name, grace_s=5.0, retries=0, seed=1)
    )


def shell(workspace: Workspace, script: str) -> JobRecord:
    """Return a shell script as a submitted job."""
    request = JobRequest(command=("sh", "-c", script), grace_s=5.0, retries=0, seed=1)
    return submit(workspace, request)


def until_state(record: JobRecord, *states: State) -> JobStatus:
    """Return the status of a job once it stands in one of the states."""
    until(lambda: read_status(record.folder).state in states)
    return read_status(record.folder)


def until_step(record: JobRecord, step: int = 3) -> JobStatus:
    """Return the status of a running job once a step is durable."""
    until(lambda: (read_status(record.folder).durable_step or 0) >= step)
    return read_status(record.folder)


def finished(workspace: Workspace, record: JobRecord) -> JobStatus:
    """Start a job and return its status once it has ended and nobody holds it."""
    from perdure.jobs.folder import is_alive

    start(workspace, record)
    until(lambda: not is_alive(record.folder))
    return read_status(record.folder)


def git(root: Path, *arguments: str) -> str:
    """Return what git says."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    return os.fsdecode(done.stdout)


def commit_all(root: Path) -> str:
    """Return the commit of everything in a new repository."""
    git(root, "init", "-q")
    (root / ".gitignore").write_text("results/\n.perdure/\ndata/*\n!data/README\n*.log\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return git(root, "rev-parse", "HEAD").strip()


def write_events(folder: Path, attempt: int, events: Sequence[Mapping[str, object]]) -> None:
    """Write an attempt's events as a supervisor would."""
    path = folder / "attempts" / f"{attempt:06d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
