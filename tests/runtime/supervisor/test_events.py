from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure.runtime.supervisor.complaint import Complaint
from perdure.runtime.supervisor.events import Events, Steps


def made(run_dir: Path) -> Events:
    return Events(str(run_dir), 1, Complaint(), now=lambda: 12.5)


def lines(run_dir: Path) -> list[str]:
    return (run_dir / "attempts" / "000001.jsonl").read_text().splitlines()


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let writes end at this size, as on a disk that becomes full in the middle of a line."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_event_is_a_line(run_dir: Path) -> None:
    events = made(run_dir)
    events.write("warning", {"text": "é\n$(x)", "event": "ended", "t": 0})
    events.write("step", {"step": 3})
    events.sync()
    events.close()
    assert [json.loads(line) for line in lines(run_dir)] == [
        {"t": 12.5, "event": "warning", "text": "é\n$(x)"},
        {"t": 12.5, "event": "step", "step": 3},
    ]


def test_a_disk_that_is_full_costs_events_and_is_told_once(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "attempts").mkdir()
    (run_dir / "attempts" / "000001.jsonl").symlink_to("/dev/full")
    events = made(run_dir)
    for _ in range(3):
        events.write("step", {"step": 1})
    events.sync()
    events.close()
    assert capfd.readouterr().err.count("No space left on device") == 1


def test_a_line_that_was_cut_is_taken_back(run_dir: Path) -> None:
    events = made(run_dir)
    events.write("step", {"step": 1})
    with no_file_beyond(60):
        events.write("step", {"step": 2})
    events.write("step", {"step": 3})
    events.close()
    assert [json.loads(line)["step"] for line in lines(run_dir)] == [1, 3]


def test_a_line_that_cannot_be_taken_back_spoils_no_other(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, size: int) -> None:
        raise OSError("append only")

    events = made(run_dir)
    events.write("step", {"step": 1})
    with no_file_beyond(60), monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        events.write("step", {"step": 2})
    events.write("step", {"step": 3})
    events.close()
    first, torn, third = lines(run_dir)
    assert json.loads(first)["step"] == 1
    assert len(torn) == 60 - len(first) - 1
    assert json.loads(third)["step"] == 3


def test_a_folder_that_takes_no_events_is_tried_again(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "attempts").write_text("in the way")
    events = made(run_dir)
    events.write("step", {"step": 1})
    events.sync()
    events.close()
    (run_dir / "attempts").unlink()
    events.write("step", {"step": 2})
    events.close()
    assert "cannot write events" in capfd.readouterr().err
    assert [json.loads(line)["step"] for line in lines(run_dir)] == [2]


def test_one_step_a_second_and_the_last_one() -> None:
    steps = Steps()
    written = [steps.offer(step, now) for step, now in [(1, 0.0), (2, 0.1), (3, 0.9), (4, 1.0)]]
    assert written == [1, None, None, 4]
    assert steps.offer(5, 1.5) is None
    assert steps.due(1.9) is None
    assert steps.due(2.0) == 5
    assert steps.offer(6, 2.1) is None
    assert steps.flush() == 6
    assert steps.flush() is None
