"""A whole drill of a project's task: its snapshot, its folder, and a run under the supervisor."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from perdure.drill.report import lines
from perdure.drill.session import DrillOptions, attempt_ends, run_drill
from perdure.errors import UsageError
from perdure.jobs.workspace import Workspace, open_workspace
from perdure.model.report import silent
from tests.drill.conftest import PROJECT, SRC, TRAINING


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project without dependencies: it runs on this very Python."""
    root = tmp_path / "it's $(small)"
    root.mkdir()
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "train.py").write_text(TRAINING.replace("FAULT", "pass"))
    monkeypatch.setenv("PYTHONPATH", os.fspath(SRC))
    here = os.fspath(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join((here, os.environ["PATH"])))
    return root


@pytest.fixture
def workspace(project: Path) -> Workspace:
    """Return the project's workspace."""
    return open_workspace(project)


def test_a_drill_leaves_neither_jobs_nor_folders_when_all_is_well(workspace: Workspace) -> None:
    found = run_drill(workspace, DrillOptions("train", runs=3, seed=5), silent)
    assert found.passed, "\n".join(lines(found))
    assert found.folder is None
    assert list((workspace.project.state / "drills").iterdir()) == []
    assert list(workspace.project.results.iterdir()) == []
    (supervised,) = [run for run in found.runs if run.supervised]
    assert supervised.coverage.interruptions >= 1


def test_a_drill_that_fails_keeps_its_folders(workspace: Workspace) -> None:
    code = TRAINING.replace("FAULT", "lost += 1; weights['w'] += 0.001 * lost")
    (workspace.project.root / "train.py").write_text(code)
    found = run_drill(workspace, DrillOptions("train", runs=1, kinds=("term",)), silent)
    assert not found.passed
    assert found.folder is not None
    # One run only: it went through the supervisor, whose events tell how its attempts ended.
    folder = found.folder / "run-001"
    assert [end.code for end in attempt_ends(folder)][-1] == 0
    assert {end.code for end in attempt_ends(folder)[:-1]} == {75}
    assert (folder / "job.json").is_file()


def test_the_code_is_the_snapshot_of_when_the_drill_began(workspace: Workspace) -> None:
    script = workspace.project.root / "train.py"

    def edit(message: str, *, done: int | None = None, total: int | None = None) -> None:
        if total is not None:
            script.write_text("raise SystemExit('edited while it ran')")

    found = run_drill(workspace, DrillOptions("train", runs=1, kinds=("kill",)), edit)
    assert script.read_text().startswith("raise SystemExit")
    assert found.passed, "\n".join(lines(found))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (DrillOptions("trian"), "no task `trian`"),
        (DrillOptions("train", runs=0), "at least one run"),
        (DrillOptions("train", kinds=("melt",)), "`melt` is no kind"),
        (DrillOptions("train", tolerance=-1.0), "tolerance is 0 or more"),
    ],
)
def test_bad_options_leave_nothing_behind(
    workspace: Workspace, options: DrillOptions, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        run_drill(workspace, options, silent)
    drills = workspace.project.state / "drills"
    assert not drills.exists() or list(drills.iterdir()) == []


def test_keep_keeps_the_run_folders(workspace: Workspace) -> None:
    options = DrillOptions("train", runs=1, kinds=("term",), keep=True)
    found = run_drill(workspace, options, silent)
    assert found.passed
    assert found.folder is not None
    assert (found.folder / "baseline-1" / "checkpoints").is_dir()
