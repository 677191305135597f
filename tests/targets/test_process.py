from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import PerdureError, TimeoutExpired
from perdure.hosts import processes
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.model.settings import Settings
from perdure.runtime import names
from perdure.targets.process import SUPERVISOR, Process, open_process
from tests.contract.target import Harness, TargetContract
from tests.jobs.projects import make_project
from tests.waiting import until


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    project = make_project(tmp_path / "a 'project$(x)\n\u00e9", {"train.py": ""})
    yield Workspace(project, Settings())
    for folder in project.results.glob("*"):
        run_dir = str(folder)
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if f"\0{run_dir}\0".encode() in command.read_bytes():
                    os.kill(int(command.parent.name), 9)
            except OSError:
                continue
        processes.kill_all(lambda: processes.carrying(names.RUN_DIR, run_dir))  # noqa: B023


@pytest.fixture
def harness(workspace: Workspace) -> Harness:
    def job(script: str, *arguments: str) -> JobRecord:
        command = ("sh", "-c", script, "sh", *arguments)
        return submit(workspace, JobRequest(command=command, grace_s=1.0, retries=0, seed=1))

    return Harness(open_process(workspace.project), job)


class TestProcess(TargetContract):
    pass


def target_of(workspace: Workspace, **settings: object) -> Process:
    project = workspace.project
    return replace(Process(project.root, project.state, dict(os.environ)), **settings)  # type: ignore[arg-type]


def recorded(workspace: Workspace, *command: str, **settings: object) -> JobRecord:
    request = JobRequest(command=command, seed=1, grace_s=2.5, retries=3, **settings)  # type: ignore[arg-type]
    return submit(workspace, request)


def test_the_plan_is_the_supervisors_command(workspace: Workspace) -> None:
    job = recorded(workspace, "sh", "-c", "true", watch=("aws", "gcp"), name="mine")
    surroundings = {"PATH": "/usr/bin", "PYTHONPATH": "/theirs", "HOME": "/home"}
    plan = target_of(workspace, surroundings=surroundings, python="/tool/python").plan(job)
    code = workspace.project.state / "snapshots" / str(job.code.snapshot)
    assert plan.argv == (
        *("/tool/python", "-I", "-S", str(SUPERVISOR), "--run-dir", str(job.folder)),
        *("--job", "mine", "--seed", "1", "--cwd", str(code), "--grace-s", "2.5"),
        *("--retries", "3", "--watch", "aws", "--watch", "gcp", "--", "sh", "-c", "true"),
    )
    assert plan.environment == {
        "PYTHONPATH": f"{code}/src:{code}:/theirs",
        "PYTHONUNBUFFERED": "1",
    }
    assert plan.cwd == code
    assert plan.text().splitlines()[0] in plan.text()
    assert "/home" not in plan.text()


def test_an_environment_comes_first_on_the_path(workspace: Workspace) -> None:
    job = recorded(workspace, "python3", "x.py")
    job = replace(job, environment=replace(job.environment, prefix="/e n v"))
    plan = target_of(workspace, surroundings={"PATH": "/usr/bin"}).plan(job)
    assert plan.argv[-2:] == ("/e n v/bin/python", "x.py")
    assert plan.environment["PATH"] == "/e n v/bin:/usr/bin"
    assert plan.environment["VIRTUAL_ENV"] == "/e n v"


def test_without_an_environment_python_is_the_machines_own(
    workspace: Workspace, tmp_path: Path
) -> None:
    job = recorded(workspace, "python", "x.py")
    own = tmp_path / "bin" / "python3"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    plan = target_of(workspace, surroundings={"PATH": str(own.parent)}).plan(job)
    assert plan.argv[-2:] == (str(own), "x.py")
    plan = target_of(workspace, surroundings={"PATH": ""}, python="/tool").plan(job)
    assert plan.argv[-2] in ("/tool", "/usr/bin/python3")


def test_a_live_job_runs_where_the_project_is(workspace: Workspace) -> None:
    job = recorded(workspace, "true", live=True)
    assert target_of(workspace).plan(job).cwd == workspace.project.root


def test_variables_lie_over_everything(workspace: Workspace) -> None:
    job = recorded(workspace, "true", environment={"PYTHONUNBUFFERED": "", "A": "b"})
    environment = target_of(workspace).plan(job).environment
    assert (environment["PYTHONUNBUFFERED"], environment["A"]) == ("", "b")


def test_a_supervisor_that_never_begins_is_killed_in_time(
    workspace: Workspace, tmp_path: Path
) -> None:
    job = recorded(workspace, "true")
    told = tmp_path / "pid"
    stuck = tmp_path / "python"
    stuck.write_text(f"#!/bin/sh\necho $$ > '{told}'\necho last words >&2\nexec sleep 60\n")
    stuck.chmod(0o755)
    target = target_of(workspace, python=str(stuck), start_s=0.5)
    with pytest.raises(TimeoutExpired, match=r"did not start in 0\.5 s") as caught:
        target.submit(target.plan(job), job.job)
    assert caught.value.hint == "last words"
    until(lambda: not Path(f"/proc/{told.read_text().strip()}").exists())


def test_a_supervisor_that_ends_at_once_is_not_waited_for(
    workspace: Workspace, tmp_path: Path
) -> None:
    job = recorded(workspace, "true")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho one\necho two >&2\nexit 4\n")
    broken.chmod(0o755)
    target = target_of(workspace, python=str(broken))
    with pytest.raises(PerdureError, match=r"did not start \(exit code 4\)") as caught:
        target.submit(target.plan(job), job.job)
    assert caught.value.hint == "one\ntwo"


def test_whoever_only_looks_does_not_keep_a_job_from_starting(
    workspace: Workspace, tmp_path: Path
) -> None:
    """A supervisor that meets a look at its lock gives up; it is started once more."""
    job = recorded(workspace, "true")
    count = tmp_path / "count"
    unlucky = tmp_path / "python"
    unlucky.write_text(
        f"#!/bin/sh\necho x >> '{count}'\n"
        f"test $(wc -l < '{count}') -lt 3 && exit 3\nexec '{sys.executable}' \"$@\"\n"
    )
    unlucky.chmod(0o755)
    target = target_of(workspace, python=str(unlucky))
    handle = target.submit(target.plan(job), job.job)
    assert handle.pid is not None
    assert count.read_text() == "x\n" * 3
