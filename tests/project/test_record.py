"""The record of a project's template, and what is refused in it."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from perdure.errors import NewerFormatError, UsageError
from perdure.project.record import RECORD, blob_id, read_record, record_text
from perdure.project.template import Answers, create_project


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    create_project(tmp_path / "cats", Answers("cats", "cats"))
    return tmp_path / "cats"


BAD_RECORDS = {
    "no toml": ("<<<<<<< HEAD\n", "not valid TOML"),
    "no answers": ("format = 1\nversion = 1\n", "answers: expected a table"),
    "a version that is none": ("version = true\n[answers]\n", "version: expected a whole number"),
    "no name": ("version = 1\n[answers]\npackage = 'x'\n", "answers.name: expected a text"),
    "a base that is an option": (
        "version = 1\nbase = '--output=x'\n[answers]\nname = 'x'\npackage = 'x'\n",
        "base: expected the id of a commit",
    ),
    "a file that is none": (
        "version = 1\n[answers]\nname = 'x'\npackage = 'x'\n[files]\n'a b' = 'HEAD'\n",
        r"files.'a b': expected git's name for what is in it",
    ),
    "a python that is none": (
        "version = 1\n[answers]\nname = 'x'\npackage = 'x'\npython = '3.11; rm'\n",
        "answers.python: expected a version",
    ),
    "files that are none": (
        "version = 1\nfiles = 3\n[answers]\nname = 'x'\npackage = 'x'\n",
        "files: expected a table",
    ),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_bad_record_is_named(name: str, tmp_path: Path) -> None:
    text, message = BAD_RECORDS[name]
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_record(tmp_path)


def test_no_record_a_link_and_a_newer_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not made by `perdure new`"):
        read_record(tmp_path)
    (tmp_path / RECORD).write_text("format = 99\n")
    with pytest.raises(NewerFormatError):
        read_record(tmp_path)
    (tmp_path / RECORD).unlink()
    (tmp_path / RECORD).symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is a link"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "name", ["../outside", ".git/config", ".GIT/config", "/etc/x", "a//b", "./a", "a/../../b"]
)
def test_a_record_cannot_write_outside_of_the_project(name: str, project: Path) -> None:
    file = project / RECORD
    readme = read_record(project).files["README.md"]
    file.write_text(f'{file.read_text()}"{name}" = "{readme}"\n')
    with pytest.raises(UsageError, match="expected the name of a file in the project"):
        read_record(project)


def test_names_of_contents_are_gits(project: Path) -> None:
    for digits, kind in ((40, "sha1"), (64, "sha256")):
        made = project.parent / kind
        git(project, "init", "-q", f"--object-format={kind}", str(made))
        (made / "file").write_bytes(b"what\0 is in it\n")
        assert git(made, "hash-object", "file") == blob_id(b"what\0 is in it\n", digits)


def test_a_record_is_written_the_same_each_time(project: Path) -> None:
    text = (project / RECORD).read_text()
    assert record_text(read_record(project)) == text
    assert set(tomllib.loads(text)["files"]) == set(git(project, "ls-files").splitlines()) - {
        RECORD
    }
