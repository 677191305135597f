from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from perdure.errors import HostUnreachable, PerdureError
from perdure.hosts import link_keeper
from perdure.hosts.link_caller import Caller
from perdure.hosts.link_keeper import Keeper
from perdure.hosts.side.channel import Channel, boot_words
from perdure.hosts.side.frames import pack, read_frame, unpack


def explained(code: int, said: str) -> PerdureError:
    return HostUnreachable(f"{code}: {said}")


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    channel = Channel(boot_words(sys.executable), explained)
    yield Keeper(channel)
    channel.close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pt-") as folder:
        yield Path(folder, "x.l")


@contextlib.contextmanager
def calling(path: Path, function: str, *arguments: object) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        for _ in range(500):
            with contextlib.suppress(OSError):
                connection.connect(os.fspath(path))
                break
            time.sleep(0.01)
        asked = {"number": 5, "function": function, "arguments": arguments, "named": {}}
        connection.sendall(pack({**asked, "tells": False}))
        yield connection


def answers(connection: socket.socket) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with connection.makefile("rb") as stream:
        while (frame := read_frame(cast(BinaryIO, stream))) is not None:
            found.append(unpack(*frame))
            if "taken" not in found[-1]:
                break
    return found


def test_it_ends_when_nobody_has_called_for_long(
    keeper: Keeper, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_keeper, "IDLE_S", 0.5)
    serving = threading.Thread(target=link_keeper._serve, args=(path, keeper))
    serving.start()
    with calling(path, "time:sleep", 1.5) as connection:
        assert path.stat().st_mode & 0o777 == 0o600
        told = answers(connection)
    # It waited for the one who called, though nobody else did.
    assert told == [{"number": 5, "taken": True}, {"number": 5, "value": None}]
    serving.join(60)
    assert not serving.is_alive()
    assert not path.exists()


def test_another_end_that_is_stopped_is_given_up(
    keeper: Keeper, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_keeper, "PING_S", 0.2)
    monkeypatch.setattr(link_keeper, "SILENT_S", 3.0)
    serving = threading.Thread(target=link_keeper._serve, args=(path, keeper))
    serving.start()
    with calling(path, "os:getpid") as connection:
        there = answers(connection)[-1]["value"]
    time.sleep(4)
    assert serving.is_alive()
    os.kill(there, signal.SIGSTOP)
    with calling(path, "os:getpid") as connection:
        assert answers(connection)[-1] == {"number": 5, "lost": True}
    serving.join(60)
    assert not serving.is_alive()
    assert not path.exists()


def test_who_calls_on_what_is_lost_hears_that_it_was_not_sent(keeper: Keeper) -> None:
    keeper._channel.end()
    keeper.pass_back()
    ours, theirs = socket.socketpair()
    with ours:
        serving = threading.Thread(target=keeper.serve, args=(Caller(theirs),))
        serving.start()
        ours.sendall(pack({"number": 4, "function": "os:getpid", "arguments": [], "named": {}}))
        assert answers(ours) == [{"number": 4, "unsent": True}]
    serving.join(60)
    assert not serving.is_alive()


@pytest.mark.parametrize(
    "words",
    [b"\xff" * 40, b"\0\0\0\1\0\0\0\0{", pack([]), pack({}), pack(3), pack("x"), b"\0"],
)
def test_one_who_talks_nonsense_is_let_go(keeper: Keeper, words: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        serving = threading.Thread(target=keeper.serve, args=(Caller(theirs),))
        serving.start()
        ours.sendall(words)
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
    serving.join(60)
    assert not serving.is_alive()


FRAMES = [
    b"\xff" * 64,
    pack({"number": [1], "value": 1}),
    pack({"value": 1}),
    pack([1, 2]),
    pack(7),
    b"\0\0\x80\0\0\0\0\0" + b"[" * 32768,
    b"\0\0\0\1\0\0\0\0{",
    b"\x7f\xff\xff\xff\x7f\xff\xff\xff",
]


@pytest.mark.parametrize("frame", FRAMES)
def test_another_end_that_talks_nonsense_is_given_up(frame: bytes, tmp_path: Path) -> None:
    ready = pack({"is": "ready"})
    (tmp_path / "said").write_bytes(b"perdure: here\n" + ready + frame)
    channel = Channel(["sh", "-c", f"cat {tmp_path}/said; exec cat >/dev/null"], explained)
    keeper = Keeper(channel)
    reading = threading.Thread(target=keeper.pass_back)
    reading.start()
    reading.join(60)
    assert not reading.is_alive()
    assert keeper.lost
    channel.close()


def test_another_end_that_never_reads_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(b"perdure: here\n")
    with pytest.raises(HostUnreachable, match="nothing that is understood"):
        Channel(["sh", "-c", f"cat {tmp_path}/said; exec sleep 60"], explained, open_s=1)


def test_what_one_does_not_read_is_kept_within_bounds() -> None:
    ours, theirs = socket.socketpair()
    # Within the bounds nobody is waited for: it would be for longer than the test may take.
    caller = Caller(theirs, most=1 << 20, patience_s=3600)
    piece = b"x" * (256 << 10)
    with ours:
        for _ in range(4):
            caller.give(piece)
        with ours.makefile("rb") as stream:
            assert stream.read(4 * len(piece)) == 4 * piece
        caller._patience_s = 0.3
        began = time.monotonic()
        for _ in range(20):
            caller.give(piece)
        # It was let go after a while, and the rest was not kept.
        assert time.monotonic() - began >= 0.3
        assert caller._gone
    caller.close()


def test_what_is_read_slowly_comes_whole_and_in_order() -> None:
    ours, theirs = socket.socketpair()
    caller = Caller(theirs, most=1 << 20, patience_s=5)
    pieces = [bytes([number % 251]) * 100_000 for number in range(60)]

    def give() -> None:
        for each in pieces:
            caller.give(each)

    writing = threading.Thread(target=give)
    writing.start()
    found = bytearray()
    with ours:
        while len(found) < sum(map(len, pieces)):
            found += ours.recv(50_000)
            time.sleep(0.001)
    writing.join()
    assert bytes(found) == b"".join(pieces)
    caller.close()
