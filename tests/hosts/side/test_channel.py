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
from perdure.hosts.side.frames import PIECE, Assembly, pack, unpack


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


def test_a_side_that_is_not_heard_from_ends_with_what_it_runs(
    channel: Channel, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    words = ["sh", "-c", f"echo $$ > {pid_file}; exec sleep 300"]
    ask(channel, "perdure.hosts.question:run", words, 600.0, {}, None, None)
    while not (pid_file.is_file() and pid_file.read_text()):
        time.sleep(0.01)
    for _ in range(3):
        channel.send(pack({"ping": 1}))
        assert answer(channel) == {"number": 0, "pong": True}
        time.sleep(0.5)
    # No frame any more, and the pipe is open: a laptop that has vanished.
    while channel.receive() is not None:
        pass
    while Path(f"/proc/{int(pid_file.read_text())}").exists():
        time.sleep(0.01)


def test_who_never_pings_may_be_silent(channel: Channel) -> None:
    time.sleep(2.5)
    ask(channel, "os:getpid")
    assert isinstance(answer(channel)["value"], int)


def test_a_call_nobody_waits_for_any_more_is_stopped(channel: Channel) -> None:
    ask(channel, "perdure.hosts.question:run", ["sleep", "300"], 600.0, {}, None, None)
    time.sleep(0.3)
    channel.send(pack({"stop": 8}))
    channel.send(pack({"stop": 7}))
    value = answer(channel)["value"]
    assert isinstance(value, dict)
    assert value["code"] == -signal.SIGKILL


def test_a_large_answer_comes_in_pieces_between_which_others_pass(channel: Channel) -> None:
    size = 8 << 20
    large = {"number": 1, "function": "perdure.hosts.question:run", "named": {}, "tells": False}
    words = ["head", "-c", str(size), "/dev/zero"]
    channel.send(pack({**large, "arguments": [words, 60.0, {}, None, None]}))
    whole, passed, found = Assembly(), 0, None
    while found is None:
        got = answer(channel)
        if got["number"] == 1:
            if not passed:
                ask(channel, "os:getpid")
            passed += 1
            found = whole.add(got)
        else:
            assert "value" in got
            assert passed < size // PIECE
    assert len(found["value"]["stdout"]) == size
    assert passed > size // PIECE


def test_what_it_starts_takes_an_interrupt_as_usual(channel: Channel) -> None:
    words = ["grep", "SigIgn", "/proc/self/status"]
    ask(channel, "perdure.hosts.question:run", words, 5.0, {}, None, None)
    value = answer(channel)["value"]
    assert isinstance(value, dict)
    ignored = int(value["stdout"].split()[1], 16)
    assert not ignored & (1 << (signal.SIGINT - 1))


def test_what_is_printed_on_standard_error_never_fills_a_pipe(channel: Channel) -> None:
    ask(channel, "builtins:exec", "import os; os.write(2, b'x' * 3_000_000)")
    assert answer(channel) == {"number": 7, "value": None}
