"""The line to the supervisor, both ways."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from perdure.runtime import control, names
from perdure.runtime.control import Control
from perdure.runtime.notice import Notice


@pytest.fixture
def pair() -> tuple[socket.socket, dict[str, str]]:
    ours, theirs = socket.socketpair()
    return ours, {names.CTL_FD: str(theirs.detach()), names.ATTEMPT: "3"}


def test_events_go_out_as_lines(pair: tuple[socket.socket, dict[str, str]], tmp_path: Path) -> None:
    ours, environ = pair
    line = Control(environ, str(tmp_path), 3)
    assert line.connected
    assert line.supervised
    line.send("durable", step=5)
    line.step(6)
    line.step(7)  # too soon after the last: left out
    sent = [json.loads(text) for text in ours.recv(4096).split(b"\n")[:-1]]
    assert sent == [{"event": "durable", "step": 5}, {"event": "step", "step": 6}]
    ours.close()
    line.close()
    line.close()


def test_a_notice_comes_in_whole_even_in_pieces(
    pair: tuple[socket.socket, dict[str, str]], tmp_path: Path
) -> None:
    ours, environ = pair
    line = Control(environ, str(tmp_path), 3)
    assert line.poll(at_once=True) is None
    ours.send(b'{"other": 1}\n{"notice": {"rea')
    assert line.poll(at_once=True) is None
    ours.send(b'son": "aws", "deadline": 12.5}}\n')
    assert line.poll() is None  # looked a moment ago
    assert line.poll(at_once=True) == Notice("aws", 12.5)
    ours.send(b'{"notice": {"reason": "file", "deadline": null}}\n')
    assert line.poll(at_once=True) == Notice("file")
    ours.close()
    line.close()
    line.close()


def test_a_supervisor_that_is_gone_is_a_notice(
    pair: tuple[socket.socket, dict[str, str]], tmp_path: Path
) -> None:
    ours, environ = pair
    line = Control(environ, str(tmp_path), 3)
    ours.close()
    line.send("step", step=1)
    assert line.poll(at_once=True) == Notice("supervisor-gone")
    assert line.poll(at_once=True) is None
    assert not line.connected


def test_a_broken_line_is_a_supervisor_that_is_gone(
    pair: tuple[socket.socket, dict[str, str]], tmp_path: Path
) -> None:
    ours, environ = pair
    line = Control(environ, str(tmp_path), 3)
    ours.close()
    stranger = os.open(tmp_path, os.O_RDONLY)
    os.dup2(stranger, int(environ[names.CTL_FD]))
    os.close(stranger)
    assert line.poll(at_once=True) == Notice("supervisor-gone")


@pytest.mark.parametrize("fd", ["", "x", "9999", None, "file"])
def test_a_line_that_a_launcher_closed_goes_to_a_file(fd: str | None, tmp_path: Path) -> None:
    (tmp_path / names.ATTEMPTS).mkdir()
    environ = {names.ATTEMPT: "3"}
    if fd == "file":
        fd = str(os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR))
    if fd is not None:
        environ[names.CTL_FD] = fd
    line = Control(environ, str(tmp_path), 3)
    assert line.supervised
    assert not line.connected
    line.send("hello", pid=1)
    assert line.poll(at_once=True) is None
    text = (tmp_path / names.ATTEMPTS / "000003.ctl").read_text()
    assert json.loads(text) == {"event": "hello", "pid": 1}


def test_alone_nothing_is_sent(tmp_path: Path) -> None:
    line = Control({}, str(tmp_path), 1)
    line.send("hello")
    line.step(1)
    assert not line.supervised
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_sent_is_dropped(tmp_path: Path) -> None:
    line = Control({names.ATTEMPT: "1"}, str(tmp_path / "missing"), 1)
    line.send("hello")


def test_a_person_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    control.say("hello")
    assert capsys.readouterr().err == "perdure: hello\n"


def test_a_number_that_is_now_another_connection_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "attempts").mkdir()
    with socket.socket(socket.AF_INET) as somebody:
        environ = {names.CTL_FD: str(somebody.fileno()), names.ATTEMPT: "3"}
        line = Control(environ, str(tmp_path), 3)
        line.send("hello")
        assert not line.connected
        assert somebody.fileno() >= 0
        somebody.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    assert "hello" in (tmp_path / "attempts" / "000003.ctl").read_text()
