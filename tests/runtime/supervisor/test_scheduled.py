"""A supervisor that a batch system runs: it takes over, is taken over from, asks for a turn."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path

import pytest

from perdure.runtime import generation
from perdure.runtime.supervisor import silence
from perdure.runtime.supervisor.options import Options
from perdure.runtime.supervisor.signals import Signals
from perdure.runtime.supervisor.watch import Watch
from tests.runtime.supervisor.harness import (
    AWARE,
    ended,
    kinds,
    only,
    start,
    supervise,
    training,
)
from tests.waiting import until

AFTER = ("--scheduled-after", "0")


def test_it_takes_over_a_folder_that_another_node_holds(run_dir: Path) -> None:
    fd = os.open(run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        assert supervise(run_dir, training("exit:0")).returncode == 3
        found = supervise(run_dir, training("exit:0"), *AFTER)
    finally:
        os.close(fd)
    assert found.returncode == 0
    assert "it is fenced" in str(only(run_dir, "warning")[0]["text"])


def test_it_ends_when_another_attempt_has_taken_over(run_dir: Path) -> None:
    process = start(run_dir, training("hello hang"), *AFTER)
    until(lambda: "hello" in kinds(run_dir))
    generation.claim(run_dir)
    assert process.wait(60) == 76
    text = (run_dir / "attempts" / "000001.jsonl").read_text()
    last = json.loads(text.splitlines()[-1])
    assert (last["state"], last["reason"], last["code"]) == ("FAILED", "fenced", 76)


def test_without_a_scheduler_a_folder_is_its_own(run_dir: Path) -> None:
    process = start(run_dir, training("hello hang"))
    until(lambda: "hello" in kinds(run_dir))
    generation.claim(run_dir)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75


def test_fenced_it_does_not_ask_for_another_turn(run_dir: Path) -> None:
    process = start(run_dir, training("heed hello wait exit:75"), *AFTER)
    until(lambda: "hello" in kinds(run_dir))
    generation.claim(run_dir)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 76


@pytest.mark.parametrize(
    ("words", "code"),
    [("{}", 75), ('{"reason": "spot"}', 75), ('{"reason": "ctrl-c", "stays": true}', 0)],
)
def test_who_is_to_stay_interrupted_does_not_ask_either(
    run_dir: Path, words: str, code: int
) -> None:
    process = start(run_dir, training("hello hang"), *AFTER)
    until(lambda: "hello" in kinds(run_dir))
    (run_dir / "new").write_text(words)
    (run_dir / "new").replace(run_dir / "PREEMPT")
    assert process.wait(60) == code
    assert ended(run_dir)[0] == "INTERRUPTED"


def test_who_runs_it_again_whatever_it_ends_with_is_told_so_when_it_is_over(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_RETURNS_AFTER", "0")
    assert supervise(run_dir, training("exit:9"), *AFTER).returncode == 0
    assert ended(run_dir)[0] == "FAILED"


def test_it_is_run_again_as_long_as_nobody_wanted_it_to_stop(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_RETURNS_AFTER", "0")
    assert supervise(run_dir, training("hello exit:75"), *AFTER).returncode == 75


def test_what_is_over_is_not_done_again(run_dir: Path) -> None:
    assert supervise(run_dir, training(AWARE + "exit:0"), *AFTER).returncode == 0
    before = kinds(run_dir)
    assert supervise(run_dir, training("exit:9"), *AFTER).returncode == 0
    assert kinds(run_dir) == before
    assert supervise(run_dir, training("exit:9"), "--scheduled-after", "1").returncode == 9


def end_with_its_machine(run_dir: Path, *actions: str, last_word: str = "hello") -> None:
    """Run an attempt that is killed together with its supervisor, as with a machine's power."""
    told = len(only(run_dir, last_word))
    process = start(run_dir, training(*actions), *AFTER)
    until(lambda: len(only(run_dir, last_word)) > told)
    last = only(run_dir, "started")[-1]
    os.kill(process.pid, signal.SIGSTOP)
    os.killpg(int(str(last["pgid"])), signal.SIGKILL)
    process.kill()
    process.wait(60)


def test_what_takes_its_machines_with_it_again_and_again_is_given_up(run_dir: Path) -> None:
    for _ in range(9):
        end_with_its_machine(run_dir, "hello restored:0 step:1 hang")
    assert "ended" not in kinds(run_dir)
    # One that got on begins another row.
    end_with_its_machine(run_dir, "durable:3 hello hang")
    for _ in range(9):
        end_with_its_machine(run_dir, "hello restored:3 step:4 hang")
    end_with_its_machine(run_dir, "restored:3 durable:3 hello hang")
    assert supervise(run_dir, training("exit:0"), *AFTER).returncode == 137
    assert (run_dir / "gen-000021").exists()
    state, reason = ended(run_dir)
    assert state == "FAILED"
    assert "10 times in a row" in str(reason)
    # Who says that it is to go on begins to count anew.
    assert supervise(run_dir, training("exit:0"), "--scheduled-after", "21").returncode == 0


def test_an_end_that_was_told_begins_another_row(run_dir: Path) -> None:
    for _ in range(2):
        end_with_its_machine(run_dir, "hello hang")
    assert supervise(run_dir, training("hello exit:75"), *AFTER).returncode == 75
    end_with_its_machine(run_dir, "hello hang")
    assert silence.in_a_row(str(run_dir), 0, 10) == 1
    assert silence.in_a_row(str(run_dir), 4, 10) == 0
    assert supervise(run_dir, training("kill:9", "exit:0"), *AFTER).returncode == 0


def test_what_was_asked_to_stop_and_had_not_the_time_is_no_silence(run_dir: Path) -> None:
    end_with_its_machine(run_dir, "hello hang")
    for _ in range(2):
        end_with_its_machine(run_dir, "hello ignore touch:PREEMPT hang", last_word="notice")
    assert silence.in_a_row(str(run_dir), 0, 10) == 1


def test_a_folder_that_cannot_be_looked_at_fences_nobody(tmp_path: Path) -> None:
    options = Options(str(tmp_path / "gone"), ("true",), "one", "/", scheduled_after=0)
    signals = Signals()
    try:
        assert not Watch(options, signals).superseded(1, at_once=True)
    finally:
        signals.restore()
