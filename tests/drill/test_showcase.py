"""The demonstration's project: made once, found again, made anew, and never at the cost of work."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from perdure.drill import showcase
from perdure.errors import ConflictError

Told = list[str]


def mark_as_older(folder: Path) -> None:
    mark = folder / ".perdure" / "demo.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "made_of": "an older perdure"}))


def test_a_project_is_made_once_and_then_found(tmp_path: Path) -> None:
    folder = tmp_path / "it's a demo"
    told: Told = []
    showcase.prepare(folder, told.append)
    (folder / "note.txt").write_text("mine")
    showcase.prepare(folder, told.append)
    assert (folder / "note.txt").read_text() == "mine"
    assert told[-1].endswith("is there already")


def test_a_demo_of_another_perdure_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    showcase.prepare(folder, print)
    mark_as_older(folder)
    (folder / "results" / "old-job").mkdir()
    showcase.prepare(folder, print)
    assert not (folder / "results" / "old-job").exists()
    assert (folder / "src" / "digits" / "train.py").is_file()


@pytest.mark.parametrize("path", ["src/digits/train.py", "notebooks/look.ipynb", "README.md"])
def test_a_demo_that_somebody_works_in_is_left_alone(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "demo"
    showcase.prepare(folder, print)
    mark_as_older(folder)
    (folder / path).write_text("my work")
    with pytest.raises(ConflictError, match=f"`{path}` was changed"):
        showcase.prepare(folder, print)
    assert (folder / path).read_text() == "my work"


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConflictError):
        showcase.prepare(tmp_path, print)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_mark_that_cannot_be_read_is_no_mark_of_ours(tmp_path: Path) -> None:
    (tmp_path / ".perdure").mkdir()
    (tmp_path / ".perdure" / "demo.json").write_text("{")
    with pytest.raises(ConflictError):
        showcase.prepare(tmp_path, print)


def test_the_files_of_a_demo_are_under_version_control(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    showcase.prepare(folder, print)
    shown = subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True
    )
    assert shown.stdout == ""
