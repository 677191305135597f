"""`perdure upgrade` as a command: what it says, and how it ends."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.project.record import RECORD, blob_id, read_record, record_text
from perdure.project.template import Answers, create_project
from tests.cli.command import is_one_error, perdure

OLD = b"old\n"


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project whose README.md, a line of pyproject.toml and a file come from before."""
    root = tmp_path / "cats"
    create_project(root, Answers("cats", "cats"))
    (root / "README.md").write_bytes(OLD)
    (root / "Makefile").unlink()
    record = read_record(root)
    files = {name: blob for name, blob in record.files.items() if name != "Makefile"}
    older = replace(record, base=None, files=files | {"README.md": blob_id(OLD)})
    (root / RECORD).write_text(record_text(older))
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "as an older template had it")
    return root


def test_a_plan_then_a_merge_then_nothing(project: Path) -> None:
    before = git(project, "rev-parse", "HEAD")
    explained = perdure("upgrade", "--explain", cwd=project)
    assert explained.code == 0, explained.err
    rows = [line.split() for line in explained.out.splitlines()]
    assert ["README.md", "changed", "as", "it", "was"] in rows
    assert ["Makefile", "added", "gone"] in rows
    assert git(project, "rev-parse", "HEAD") == before
    done = perdure("upgrade", cwd=project / "src")
    assert done.code == 0, done.err
    assert "merged the template, version 1: 2 files" in done.err
    assert (project / "README.md").read_text().startswith("# cats\n")
    assert (project / "Makefile").is_file()
    again = perdure("upgrade", "--explain", cwd=project)
    assert again.code == 0
    assert "README.md" not in again.out
    assert "Makefile" not in again.out


def test_conflicts_end_with_what_to_do(project: Path) -> None:
    (project / "README.md").write_text("mine\n")
    git(project, "commit", "-q", "-am", "mine")
    ended = perdure("upgrade", cwd=project)
    assert is_one_error(ended, 3, "conflicts in `README.md`", "git merge --abort", "git commit")
    git(project, "merge", "--abort")
    assert (project / "README.md").read_text() == "mine\n"


def test_what_is_lost_is_said(project: Path) -> None:
    (project / "README.md").write_text("mine\n")
    git(project, "checkout", "-q", "--orphan", "fresh")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "squashed")
    for branch in git(project, "for-each-ref", "--format=%(refname)").splitlines():
        if branch != "refs/heads/fresh":
            git(project, "update-ref", "-d", branch)
    git(project, "reflog", "expire", "--expire=now", "--all")
    git(project, "gc", "-q", "--prune=now")
    assert "compare well: `README.md`" in perdure("upgrade", "--explain", cwd=project).err


def test_bad_places(project: Path, tmp_path: Path) -> None:
    assert is_one_error(perdure("upgrade", cwd=tmp_path), 2, "no project here")
    (project / "README.md").write_text("not committed\n")
    assert is_one_error(perdure("upgrade", cwd=project), 3, "uncommitted changes", "git commit")
    (project / RECORD).unlink()
    assert is_one_error(perdure("upgrade", cwd=project), 2, "not made by `perdure new`")
