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


def test_without_locks_whoever_claimed_last_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = tmp_path / "brave $(x)"
    folder.mkdir()
    (folder / names.LOCK_FILE).touch()
    assert not presence.is_alive(folder)
    claim = folder / "gen-000001"
    program = "import sys; print(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        claim.write_text(json.dumps({"pid": supervisor.pid, "host": socket.gethostname()}))
        assert presence.is_alive(folder)
        with pytest.raises(ConflictError), presence.held(folder):
            raise AssertionError("taken from the living")
        supervisor.kill()
    assert not presence.is_alive(folder)
    with presence.held(folder):
        pass
    claim.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    assert not presence.is_alive(folder)  # the id is somebody else's by now
    claim.write_text(json.dumps({"pid": 1, "host": "another"}))
    assert presence.is_alive(folder)
    claim.write_text("torn")
    assert not presence.is_alive(folder)
