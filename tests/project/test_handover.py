"""What root made in somebody else's project, handed to them, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.project.handover import hand_over
from tests.cli.command import perdure

OWNER = 1000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")


def owners(root: Path, *names: str) -> set[int]:
    return {(root / name).lstat().st_uid for name in names}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder of somebody's project in which root has been at work."""
    root = tmp_path / "a 'project'"
    for name in (".perdure/environments/x/bin", ".perdure/snapshots/y", "results/job", "src"):
        (root / name).mkdir(parents=True)
    for name in ("uv.lock", "perdure.lock", ".perdure/ledger.db", "src/own.py", "results/job/a"):
        (root / name).touch()
    (root / ".perdure/environments/x/bin/python").symlink_to("/usr/bin/env")
    os.chown(root, OWNER, OWNER)
    return root


def test_perdures_own_is_handed_over_and_nothing_else(root: Path) -> None:
    hand_over(root)
    assert owners(root, "uv.lock", "perdure.lock", ".perdure", ".perdure/ledger.db") == {OWNER}
    inside = (".perdure/environments/x", ".perdure/environments/x/bin/python")
    assert owners(root, *inside, ".perdure/snapshots/y") == {OWNER}
    assert owners(root, "src", "src/own.py", "results", "results/job/a") == {0}
    assert Path("/usr/bin/env").stat().st_uid == 0
    (root / ".perdure" / "new").touch()
    hand_over(root)
    assert owners(root, ".perdure/new") == {OWNER}


def test_links_lead_nowhere(root: Path, tmp_path: Path) -> None:
    wheel, folder = tmp_path / "wheel", tmp_path / "elsewhere"
    wheel.touch()
    (folder / "in").mkdir(parents=True)
    (root / ".perdure" / "wheel").hardlink_to(wheel)
    (root / ".perdure" / "folder").symlink_to(folder)
    (root / "uv.lock").unlink()
    (root / "uv.lock").symlink_to(wheel)
    hand_over(root)
    assert owners(tmp_path, "wheel", "elsewhere", "elsewhere/in") == {0}
    assert owners(root, "uv.lock", ".perdure/folder") == {OWNER}


def test_a_project_of_roots_own_and_none_at_all(root: Path, tmp_path: Path) -> None:
    os.chown(root, 0, 0)
    hand_over(root)
    assert owners(root, "uv.lock", ".perdure") == {0}
    hand_over(tmp_path / "nowhere")


def test_a_command_of_roots_hands_over(tmp_path: Path) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[tool.perdure]\nformat = 1\npackage = "x"\n'
    )
    os.chown(root, OWNER, OWNER)
    ended = perdure("run", "--", "true", cwd=root)
    assert ended.code == 0, ended.err
    made = [each for each in (root / ".perdure").rglob("*") if each.lstat().st_uid != OWNER]
    assert made == []
    assert owners(root, ".perdure") == {OWNER}
