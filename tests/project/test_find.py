from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.project.find import find_project


def project(folder: Path, text: str = "[tool.perdure]\nformat = 1\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_the_nearest_project_is_found_from_below(tmp_path: Path) -> None:
    project(tmp_path)
    inner = project(tmp_path / "inner $(x) é")
    (inner / "src" / "deep").mkdir(parents=True)
    assert find_project(inner / "src" / "deep") == inner


def test_a_pyproject_of_something_else_is_passed_over(tmp_path: Path) -> None:
    project(tmp_path)
    other = project(tmp_path / "other", "# perdure is mentioned\n[tool.ruff]\n")
    assert find_project(other) == tmp_path


def test_a_broken_project_is_still_the_project(tmp_path: Path) -> None:
    project(tmp_path)
    broken = project(tmp_path / "broken", "[tool.perdure]\nformat = \n")
    assert find_project(broken) == broken


def test_bytes_that_are_no_text_are_no_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe perdure")
    with pytest.raises(UsageError):
        find_project(tmp_path)


def test_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no project here") as caught:
        find_project(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint == "perdure new NAME"
