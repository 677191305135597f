from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from perdure.errors import StorageError
from perdure.hosts.here import HERE
from perdure.hosts.sending import send
from perdure.hosts.side import files


def test_a_file_arrives_whole_with_its_mode(tmp_path: Path) -> None:
    source = tmp_path / "a wheel.whl"
    source.write_bytes(os.urandom(9 << 20))
    source.chmod(0o755)
    there = tmp_path / "not yet" / "there" / "it.whl"
    assert send(HERE, source, str(there))
    assert there.read_bytes() == source.read_bytes()
    assert there.stat().st_mode & 0o777 == 0o755
    assert not send(HERE, source, str(there))
    assert [path.name for path in there.parent.iterdir()] == ["it.whl"]


def test_an_empty_file_arrives_too(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    send(HERE, tmp_path / "empty", str(tmp_path / "there"))
    assert (tmp_path / "there").read_bytes() == b""


def test_a_transfer_that_broke_off_is_gone_on_with(tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    data = os.urandom(6 << 20)
    source.write_bytes(data)
    files.take(str(there), 0, data[:1000])
    assert not there.exists()
    assert files.arrived(str(there), len(data)) == 1000
    files.take(str(there), 1000, b"")
    send(HERE, source, str(there))
    assert there.read_bytes() == data


def test_other_bytes_do_not_count_and_are_thrown_away(tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.write_bytes(b"what is sent now")
    files.take(str(there), 0, b"what was")
    with pytest.raises(StorageError, match="did not arrive as it was sent"):
        send(HERE, source, str(there))
    assert not there.exists()
    assert send(HERE, source, str(there))
    assert (
        hashlib.sha256(there.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    )
