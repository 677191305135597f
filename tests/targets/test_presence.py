from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import ConflictError
from perdure.runtime import names
from perdure.targets import presence


def test_a_lock_is_seen_as_long_as_it_is_held(tmp_path: Path) -> None:
    assert not presence.is_alive(tmp_path)
    with presence.held(tmp_path):
        assert presence.is_alive(tmp_path)
        with pytest.raises(ConflictError, match="is running"), presence.held(tmp_path):
            raise AssertionError("held twice")
    assert not presence.is_alive(tmp_path)
    assert not presence.is_alive(tmp_path / "missing")


def test_looking_never_looks_like_living(tmp_path: Path) -> None:
    with (tmp_path / names.LOCK_FILE).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not presence.is_alive(tmp_path)


@pytest.fixture
def unlocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run folder on a file system without locks."""

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = tmp_path / "brave $(x)"
    folder.mkdir()
    (folder / names.LOCK_FILE).touch()
    return folder


def claim(folder: Path, pid: int, host: str) -> None:
    (folder / "gen-000001").write_text(json.dumps({"pid": pid, "host": host}))


def test_without_locks_whoever_claimed_last_is_looked_for(unlocked: Path) -> None:
    argv = [sys.executable, "-c", "import sys; print(); sys.stdin.read()", str(unlocked)]
    assert not presence.is_alive(unlocked)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        claim(unlocked, supervisor.pid, socket.gethostname())
        assert presence.is_alive(unlocked)
        with pytest.raises(ConflictError), presence.held(unlocked):
            raise AssertionError("taken from the living")
        supervisor.kill()
    assert not presence.is_alive(unlocked)
    with presence.held(unlocked):
        pass


def test_without_locks_only_the_claimant_itself_counts(unlocked: Path) -> None:
    claim(unlocked, os.getpid(), socket.gethostname())
    assert not presence.is_alive(unlocked)  # the id is somebody else's by now
    claim(unlocked, 1, "another")
    assert presence.is_alive(unlocked)
    (unlocked / "gen-000001").write_text("torn")
    assert not presence.is_alive(unlocked)
