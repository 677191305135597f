"""Run folders that another host is brought, many with one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.errors import ConflictError
from perdure.jobs import there
from perdure.runtime import names

BASE = ".perdure/sweeps/wide"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project's folder on a host, with what the trials of a sweep have in common."""
    common = tmp_path / BASE
    common.mkdir(parents=True)
    (common / there.CODE_LIST).write_text("{}")
    (common / names.JOB_FILE).write_text("the sweep's")
    return tmp_path


@pytest.fixture
def make(root: Path) -> Callable[..., None]:
    """Return what makes run folders with these records."""

    def made(**records: bytes) -> None:
        there.begin_trials(str(root), BASE, records)

    return made


def test_a_trials_run_folder_has_its_record_and_what_all_have(
    root: Path, make: Callable[..., None]
) -> None:
    make(first=b"1", second=b"2")

    for name, record in (("first", b"1"), ("second", b"2")):
        folder = root / "results" / name
        assert (folder / names.JOB_FILE).read_bytes() == record
        assert (folder / there.CODE_LIST).samefile(root / BASE / there.CODE_LIST)
        assert {names.OUTPUTS, names.ATTEMPTS, names.LOGS} <= {p.name for p in folder.iterdir()}


def test_one_that_is_there_is_left_as_it_is(root: Path, make: Callable[..., None]) -> None:
    make(first=b"1")
    written = root / "results" / "first" / names.OUTPUTS / "result"
    written.write_text("42")
    make(first=b"1", second=b"2")

    assert written.read_text() == "42"
    assert (root / "results" / "second" / names.JOB_FILE).read_bytes() == b"2"


def test_another_job_of_the_name_is_not_overwritten(root: Path, make: Callable[..., None]) -> None:
    make(first=b"1")
    with pytest.raises(ConflictError, match="another job `first`"):
        make(first=b"another")

    assert (root / "results" / "first" / names.JOB_FILE).read_bytes() == b"1"


@pytest.mark.parametrize("left", [b"", bytes(4)])
def test_a_record_that_a_crash_left_empty_is_written_again(
    root: Path, make: Callable[..., None], left: bytes
) -> None:
    make(first=b"1")
    (root / "results" / "first" / names.JOB_FILE).write_bytes(left)
    make(first=b"1")

    assert (root / "results" / "first" / names.JOB_FILE).read_bytes() == b"1"


def test_without_links_what_all_have_is_copied(
    root: Path, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, __: object) -> None:
        raise PermissionError(1, "no links on this file system")

    monkeypatch.setattr("os.link", refuse)
    make(first=b"1")

    folder = root / "results" / "first"
    assert (folder / there.CODE_LIST).read_text() == "{}"
    assert not [each.name for each in folder.iterdir() if each.name.startswith(".")]
