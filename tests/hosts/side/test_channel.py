from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import HostUnreachable, NoPython, PerdureError
from perdure.hosts import question
from perdure.hosts.side.channel import Channel, boot_words
from perdure.hosts.side.frames import pack, unpack


def explained(code: int, said: str) -> PerdureError:
    return HostUnreachable(f"{code}: {said.strip()}")


@pytest.fixture
def channel() -> Iterator[Channel]:
    opened = Channel(boot_words(sys.executable), explained)
    yield opened
    opened.close()


def ask(channel: Channel, name: str, *arguments: object, tells: bool = False) -> None:
    asked = {"number": 7, "function": name, "arguments": list(arguments), "named": {}}
    channel.send(pack({**asked, "tells": tells}))


def answer(channel: Channel) -> dict[str, object]:
    frame = channel.receive()
    assert frame is not None
    found = unpack(*frame)
    assert isinstance(found, dict)
    return found


def test_a_function_is_called_and_tells_what_it_does(channel: Channel) -> None:
    words = ["sh", "-c", 'echo one >&2; printf "%s" "$A"; cat; exit 3']
    named = f"{question.run.__module__}:{question.run.__qualname__}"
    ask(channel, named, words, 20.0, {"A": "x\ny "}, None, b"\x00in", tells=True)
    assert answer(channel) == {"number": 7, "line": "one"}
    value = {"code": 3, "stdout": b"x\ny \x00in", "stderr": b"one\n"}
    assert answer(channel) == {"number": 7, "value": value}


def test_errors_come_back_as_what_they_are(channel: Channel) -> None:
    ask(channel, "perdure.hosts.question:run", ["no-such-program"], 5.0, {}, None, None)
    error = answer(channel)["error"]
    assert isinstance(error, dict)
    assert error["kind"] == "MissingProgram"
    assert error["program"] == "no-such-program"
    ask(channel, "os:rmdir", "/no/such/folder")
    failed = answer(channel)["failed"]
    assert isinstance(failed, list)
    assert failed[2] == "/no/such/folder"
    ask(channel, "os:no_such_function")
    assert "no_such_function" in str(answer(channel)["crashed"])


def test_a_slow_call_does_not_keep_others_waiting(channel: Channel) -> None:
    ask(channel, "perdure.hosts.question:run", ["sleep", "30"], 60.0, {}, None, None)
    ask(channel, "os:getpid")
    assert isinstance(answer(channel)["value"], int)


def test_what_runs_for_somebody_ends_with_the_connection(channel: Channel, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    words = ["sh", "-c", f"echo $$ > {pid_file}; exec sleep 300"]
    ask(channel, "perdure.hosts.question:run", words, 600.0, {}, None, None)
    while not (pid_file.is_file() and pid_file.read_text()):
        time.sleep(0.01)
    pid = int(pid_file.read_text())
    channel.writer.close()
    for _ in range(1000):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it still runs")


def test_no_python_and_words_that_are_no_frames(tmp_path: Path) -> None:
    with pytest.raises(NoPython):
        Channel(["sh", "-c", "exec no-such-python -c x"], explained)
    with pytest.raises(HostUnreachable, match="255: Permission denied"):
        Channel(["sh", "-c", "echo Permission denied >&2; exit 255"], explained)
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 42\n")
    old.chmod(0o755)
    with pytest.raises(NoPython):
        Channel([str(old), *boot_words()[1:]], explained)
    with pytest.raises(HostUnreachable, match="does not run what it is given"):
        Channel(["sh", "-c", "echo Welcome; cat >/dev/null"], explained, open_s=0.5)
