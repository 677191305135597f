"""A project's own command as a task on `local`, where the project is not installed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import MissingProgram, UsageError
from perdure.jobs.launch import JobRequest, explain, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.settings import Settings
from perdure.targets.command import command_code
from tests.jobs.projects import finished, make_project

CATS = """\
import sys

def main():
    print("called as", sys.argv)
    return 7
"""
PYPROJECT = (
    '[project]\nname = "cats"\n[project.scripts]\ncats-train = "cats:main"\n[tool.perdure]\n'
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    files = {"src/cats/__init__.py": CATS, "pyproject.toml": PYPROJECT}
    return Workspace(make_project(tmp_path / "a 'project'", files), Settings())


def test_it_is_called_with_its_arguments(workspace: Workspace) -> None:
    request = JobRequest(command=("cats-train", "--x", "a 'b'"), seed=1, retries=0)
    assert "from cats import main" in explain(workspace, request)
    record = submit(workspace, request)
    assert record.command == ("cats-train", "--x", "a 'b'")
    assert finished(workspace, record).state is State.FAILED
    told = (record.folder / "logs" / "000001.log").read_text()
    assert told.splitlines()[0] == f"called as {list(record.argv)}"


def test_the_snapshots_own_declaration_counts(workspace: Workspace) -> None:
    record = submit(workspace, JobRequest(command=("cats-train",), seed=1, retries=0))
    (workspace.project.root / "pyproject.toml").write_text("[tool.perdure]\n")
    assert finished(workspace, record).reason.endswith("exit code 7")


def test_what_is_no_command_of_the_projects(workspace: Workspace) -> None:
    root = workspace.project.root
    assert command_code(root, "sh") is None
    assert command_code(root, "./cats-train") is None
    assert command_code(root, "") is None
    with pytest.raises(MissingProgram, match="`cats-trian`"):
        submit(workspace, JobRequest(command=("cats-trian",)))
    (root / "pyproject.toml").write_text(PYPROJECT.replace("cats:main", "cats"))
    with pytest.raises(UsageError, match="cannot be made"):
        submit(workspace, JobRequest(command=("cats-train",)))
    assert not any(workspace.project.results.iterdir())


def test_an_environments_python_runs_it(workspace: Workspace) -> None:
    from perdure.targets.process import Process

    record = submit(workspace, JobRequest(command=("cats-train",)))
    record = replace(record, environment=replace(record.environment, prefix="/e n v"))
    target = Process(workspace.project.root, workspace.project.state, dict(os.environ))
    assert target.plan(record).command[:2] == ("/e n v/bin/python", "-c")
