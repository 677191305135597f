from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.runtime.supervisor.channel import (
    LONGEST_LINE,
    Channel,
    Lines,
    Message,
    Tail,
    read_message,
)
from perdure.runtime.supervisor.notice import Notice


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"event": "ended", "state": "SUCCEEDED"}',
        b'{"event": ["step"]}',
        b'{"event": "step"}',
        b'{"event": "step", "step": true}',
        b'{"event": "step", "step": "3"}',
        b'{"event": "step", "step": 3.0}',
        b'{"event": "durable", "step": null}',
        b'{"event": "exiting", "step": 3}',
    ],
)
def test_nonsense_is_no_message(line: bytes) -> None:
    assert read_message(line) is None


def test_a_message_keeps_what_a_reader_can_take() -> None:
    line = b'{"event": "durable", "t": 1, "step": 3, "a": NaN, "b": [1], "c": null, "d": "\\u2603"}'
    assert read_message(line) == Message("durable", {"step": 3, "c": None, "d": "☃"}, 3)
    assert read_message(b'{"event": "hello", "world": 1}') == Message("hello", {"world": 1})
    assert read_message(b'{"event": "exiting", "code": 75}') == Message("exiting", {"code": 75}, 75)


def test_lines_come_out_whole_however_they_come_in() -> None:
    lines = Lines()
    found = [line for byte in b"ab\n\ncd\nrest" for line in lines.feed(bytes([byte]))]
    assert found == [b"ab", b"", b"cd"]


@pytest.mark.parametrize("size", [1, 1000, 10**6])
def test_an_endless_line_is_dropped_and_the_next_one_read(size: int) -> None:
    lines = Lines()
    text = b"x" * (LONGEST_LINE + 1) + b"\nnext\n"
    pieces = (text[start : start + size] for start in range(0, len(text), size))
    assert [line for piece in pieces for line in lines.feed(piece)] == [b"", b"next"]


def test_a_channel_hears_and_tells() -> None:
    channel = Channel()
    assert list(channel.hear()) == []
    channel.theirs.send(b"one\ntwo\nthr")
    assert list(channel.hear()) == [b"one", b"two"]
    channel.tell(Notice("spot\n", 3.5))
    assert channel.theirs.recv(100) == b'{"notice": {"reason": "spot\\n", "deadline": 3.5}}\n'
    assert len(channel.fds()) == 1
    channel.close()


def test_a_child_that_is_gone_closes_the_channel() -> None:
    channel = Channel()
    channel.theirs.send(b"last\n")
    channel.started()
    assert list(channel.hear()) == [b"last"]
    assert not channel.open
    assert channel.fds() == ()
    channel.tell(Notice("nobody listens"))
    assert list(channel.hear()) == []
    channel.close()


def test_a_connection_that_was_reset_is_closed() -> None:
    channel = Channel()
    channel.tell(Notice("never read"))
    channel.started()  # with bytes unread on their side: ECONNRESET on ours
    assert list(channel.hear()) == []
    assert not channel.open
    channel.close()


def test_a_child_that_does_not_listen_cannot_hold_the_supervisor() -> None:
    channel = Channel()
    for _ in range(20_000):
        channel.tell(Notice("x" * 100))
    channel.close()


def test_a_flood_is_read_in_pieces() -> None:
    channel = Channel()
    channel.theirs.setblocking(False)
    heard = 0
    for _ in range(50):
        try:
            channel.theirs.send(b"x\n" * 100_000)
        except BlockingIOError:
            pass
        heard += len(list(channel.hear()))
    assert heard > 100_000
    channel.close()


def test_a_tail_reads_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "x.ctl"
    tail = Tail(str(path))
    assert list(tail.hear()) == []
    with path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert list(tail.hear()) == [b"one"]
        file.write("o\n" + "x\n" * 2**20)
    assert len(list(tail.hear())) < 2**20  # the rest at the next look
    tail.close()
    tail.close()


def test_a_tail_of_a_pipe_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.ctl")
    tail = Tail(str(tmp_path / "x.ctl"))
    assert list(tail.hear()) == []
    tail.close()
