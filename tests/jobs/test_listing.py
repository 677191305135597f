from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.jobs.listing import list_code
from tests.jobs.projects import commit_all, git, make_project

FILES = {
    "train.py": "",
    "src/cats/__init__.py": "",
    "with space/$(x) 'q' \u00e9\n.txt": "",
    "data/big.bin": "",
    "results/x/job.json": "",
    ".perdure/ledger.db": "",
    "notes.log": "",
}
CODE = {".gitignore", "pyproject.toml", "train.py", "src/cats/__init__.py"}
CODE |= {"with space/$(x) 'q' \u00e9\n.txt"}


def test_git_says_what_is_code(root: Path) -> None:
    make_project(root, FILES)
    (root / "data" / "README").write_text("tracked, and still data")
    commit_all(root)
    (root / "new.py").write_text("untracked")
    (root / "train.py").unlink()
    listing = list_code(root)
    assert listing.warning is None
    assert set(listing.paths) == CODE | {"new.py"}  # one that is gone is passed over when read


def test_a_folder_inside_a_repository_lists_itself(root: Path) -> None:
    make_project(root / "sub dir", {"train.py": ""})
    (root / "other.py").write_text("")
    commit_all(root)
    assert list_code(root / "sub dir").paths == ("pyproject.toml", "train.py")


def test_a_repository_inside_is_listed_too(root: Path) -> None:
    make_project(root, {"train.py": "", "vendor/lib.py": ""})
    commit_all(root / "vendor")
    (root / "vendor" / "own.log").write_text("ignored there")
    commit_all(root)
    assert set(list_code(root).paths) == {
        ".gitignore",
        "pyproject.toml",
        "train.py",
        "vendor/lib.py",
        "vendor/.gitignore",
    }


def test_a_hook_does_not_lead_elsewhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(root, {"train.py": ""})
    commit_all(root)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert "train.py" in list_code(root).paths
    assert list_code(root).warning is None


def test_without_a_repository_clutter_is_left_out(root: Path) -> None:
    make_project(root, FILES | {".venv/bin/python": "", "a/__pycache__/x.pyc": "", "a/x.py": ""})
    listing = list_code(root)
    assert listing.warning == "no git repository here: files are taken without asking .gitignore"
    assert set(listing.paths) == (CODE - {".gitignore"}) | {"a/x.py", "notes.log"}


def test_without_git_the_listing_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(root, {"train.py": ""})
    commit_all(root)
    monkeypatch.setenv("PATH", str(root))
    listing = list_code(root)
    assert str(listing.warning).startswith("no git on this machine")
    assert "train.py" in listing.paths


def test_what_git_refuses_is_passed_on(root: Path) -> None:
    make_project(root, {"train.py": ""})
    commit_all(root)
    (root / ".git" / "config").write_text("[broken")
    listing = list_code(root)
    assert listing.warning is not None
    assert "config" in listing.warning
    assert "train.py" in listing.paths


def test_links_are_listed_and_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("")
    make_project(root, {"train.py": ""})
    (root / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe")
    assert list_code(root).paths == ("link", "pyproject.toml", "train.py")
    git(root, "init", "-q")
    assert "link" in list_code(root).paths
