from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import StorageError
from perdure.hosts import ssh_folder
from perdure.hosts.ssh_folder import control_folder

# What ssh makes of `%C`, and what it appends while it binds; macOS has room for 103 bytes.
OF_SSH = 1 + 40 + 17
ROOM = 103


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with a short name: `run` in it is the user's own, `home` the home."""
    short = Path("/tmp", f"pf-{os.getpid()}")
    short.symlink_to(tmp_path)
    for name in ("run", "home", "tmp"):
        (short / name).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short / "run"))
    monkeypatch.setenv("HOME", str(short / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(short / "tmp"))
    yield short
    short.unlink()


def test_it_is_private_and_short_enough(places: Path) -> None:
    folder = control_folder()
    assert folder == places / "run" / "perdure"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert control_folder() == folder
    assert len(os.fsencode(folder)) + OF_SSH <= ROOM


def test_a_long_home_and_no_folder_of_the_session(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert control_folder() == places / "home" / ".ssh" / "perdure"
    assert (places / "home" / ".ssh").stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("HOME", str(places / ("h" * 100)))
    assert control_folder() == places / "tmp" / f"perdure-{os.getuid()}"
    monkeypatch.setattr("tempfile.tempdir", str(places / ("t" * 60)))
    assert list(ssh_folder._candidates()) == [Path(f"/tmp/perdure-{os.getuid()}")]


def test_a_home_that_is_not_there_or_full(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/no/such/folder")
    monkeypatch.setenv("HOME", str(places / "no" / "such"))
    assert control_folder() == places / "tmp" / f"perdure-{os.getuid()}"


@pytest.mark.parametrize("what", ["open to others", "a link", "a file", "somebody else's"])
def test_a_folder_that_is_not_private_is_refused(places: Path, what: str) -> None:
    folder = places / "run" / "perdure"
    if what == "a link":
        (places / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(places / "elsewhere")
    elif what == "a file":
        folder.write_text("")
    else:
        folder.mkdir(mode=0o755 if what == "open to others" else 0o700)
        if what == "somebody else's":
            if os.getuid() != 0:
                pytest.skip("only root can give a folder away")
            os.chown(folder, 1000, 1000)
    if what == "a file":
        assert control_folder() != folder
        return
    with pytest.raises(StorageError, match="not a private folder") as told:
        control_folder()
    assert told.value.hint == f"rm -r {folder}"
