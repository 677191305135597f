"""The training logs rows while the writer's thread makes them durable: each is written once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.runtime import metrics
from perdure.runtime.background import Background


def held(inside: threading.Event, go_on: threading.Event) -> Callable[[int, bytes], int]:
    """Return a write that fails once, then waits in any thread but this one."""
    real, failing = os.write, [OSError(28, "No space left on device")]
    mine = threading.current_thread()

    def write(fd: int, data: bytes) -> int:
        if failing:
            raise failing.pop()
        # The system's call holds its buffer from the beginning, so this one does too.
        with memoryview(data) as view:
            if threading.current_thread() is not mine and not inside.is_set():
                inside.set()
                go_on.wait(60)
            return real(fd, view)

    return write


def test_a_row_logged_during_a_sync_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync is held inside its write, with a row waiting, when the training logs another."""
    segment = metrics.Segment(str(tmp_path), 1, [], 0)
    inside, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(os, "write", held(inside, go_on))
    assert segment.log({"step": 0}) is not None
    sync = Background(segment.sync)
    assert inside.wait(60)
    threading.Timer(0.2, go_on.set).start()
    assert segment.log({"step": 1}) is None
    go_on.set()
    sync.result()
    chain = segment.chain()
    segment.close()
    assert [row["step"] for row in metrics.read_rows(str(tmp_path))] == [0, 1]
    assert chain[-1][1] == (tmp_path / "metrics" / "000001.jsonl").stat().st_size
