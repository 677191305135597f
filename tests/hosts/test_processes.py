from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import PerdureError
from perdure.hosts.processes import (
    carrying,
    command_of,
    is_held,
    kill_all,
    kill_started,
    start_ticks,
)

NAME = "PERDURE_TEST_FOLDER"
WAIT = "import sys; sys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    value = f"{tmp_path}/a b"
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT],
        env=os.environ | {NAME: value},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.read(1)  # it runs its own program now, not a copy of this one
    yield process, value
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


@pytest.mark.parametrize("proc", [Path("/proc"), Path("/no/proc/here")])
def test_a_process_is_found_by_what_it_carries(
    carrier: tuple[subprocess.Popen[bytes], str], proc: Path
) -> None:
    process, value = carrier
    assert carrying(NAME, value, proc=proc) == {process.pid}
    assert carrying(NAME, value[:-1], proc=proc) == frozenset()
    assert carrying(NAME[1:], value, proc=proc) == frozenset() or not proc.is_dir()


@pytest.mark.parametrize("proc", [Path("/proc"), Path("/no/proc/here")])
def test_a_command_line_is_told(
    carrier: tuple[subprocess.Popen[bytes], str], proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert b"sys.stdin.read()" in command_of(carrier[0].pid, proc=proc)
    assert command_of(999999999, proc=proc) == b""
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_of(999999999, proc=proc) == b""


def test_a_file_is_held_for_as_long_as_its_holder_lives(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert not is_held(file)
    words = f"import fcntl; held = open({str(file)!r}, 'w'); fcntl.flock(held, fcntl.LOCK_EX)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{words}; {WAIT}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.read(1)
        # Whoever asks is taken for nobody's holder.
        assert [is_held(file), is_held(file)] == [True, True]
        holder.kill()
        holder.wait()
        assert not is_held(file)


def test_this_process_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, value = Path("/proc/self/environ").read_bytes().split(b"\0")[0].partition(b"=")
    assert os.getpid() not in carrying(os.fsdecode(name), os.fsdecode(value))


def test_without_ps_nothing_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert carrying(NAME, "x", proc=tmp_path / "missing") == frozenset()


def test_all_that_is_found_is_killed(carrier: tuple[subprocess.Popen[bytes], str]) -> None:
    process, value = carrier
    assert kill_all(lambda: carrying(NAME, value)) == 1
    assert process.wait() == -9
    assert kill_all(lambda: carrying(NAME, value)) == 0


def test_what_cannot_be_killed_is_named() -> None:
    rounds: list[float] = []
    with pytest.raises(PerdureError, match="processes 999999999 do not end") as caught:
        kill_all(lambda: frozenset({999999999}), pause=rounds.append)
    assert caught.value.hint == "ps -fp 999999999"
    assert len(rounds) == 20


def test_a_process_is_killed_only_if_it_started_when_it_was_recorded(
    carrier: tuple[subprocess.Popen[bytes], str],
) -> None:
    process, _ = carrier
    ticks = start_ticks(process.pid)
    assert ticks is not None
    kill_started(process.pid, ticks + 1)
    kill_started(1, start_ticks(1) or 0)
    assert process.poll() is None
    kill_started(process.pid, ticks)
    assert process.wait() == -9


def test_ticks_are_read_past_a_hostile_name(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(["S", *map(str, range(4, 60))])
    (tmp_path / "7" / "stat").write_text(f"7 (a) b ) (S 1) {fields}\n")
    assert start_ticks(7, proc=tmp_path) == 22
    (tmp_path / "7" / "stat").write_text("7 (a)")
    assert start_ticks(7, proc=tmp_path) is None
    assert start_ticks(8, proc=tmp_path) is None
