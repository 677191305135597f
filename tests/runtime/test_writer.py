"""The writer's thread: one save at a time, its outcome told once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from perdure.runtime import generation, metrics, state
from perdure.runtime.faults import StateError
from perdure.runtime.generation import Fenced
from perdure.runtime.ranks import Solo
from perdure.runtime.store import FORMAT, Store
from perdure.runtime.writer import Snapshot, Writer


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def make(folder: Path, *, keep: int = 3) -> Writer:
    store = Store(str(folder), generation.claim(folder), keep=keep)
    return Writer(store, Solo(), metrics.Segment(str(folder), store.generation, [], 0))


def start(writer: Writer, step: int, value: int = 0) -> None:
    encoded = state.encode({"w": np.full(10, value)}, "model")
    arrays = {f"items/{name}": array for name, array in encoded.arrays.items()}
    layout = writer.staging.fill(arrays)
    meta = {"format": FORMAT, "step": step}
    writer.start(Snapshot(step, "test", layout, arrays, meta, ["model"], None))


def close(writer: Writer) -> None:
    assert writer.segment is not None
    writer.segment.close()


def test_a_save_is_told_once(tmp_path: Path) -> None:
    writer = make(tmp_path)
    writer.join()
    assert (writer.busy(), writer.finished(), writer.wait()) == (False, None, None)
    start(writer, 4)
    writer.join()
    outcome = writer.finished()
    assert outcome is not None
    assert (outcome.step, outcome.reason, outcome.error) == (4, "test", None)
    assert (writer.finished(), writer.wait()) == (None, None)
    assert len(writer.store.candidates()) == 1
    close(writer)


def test_what_is_under_way_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, real = threading.Event(), os.fsync

    def fsync(fd: int) -> None:
        go_on.wait(60)
        real(fd)

    writer = make(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    start(writer, 1)
    assert writer.busy()
    assert writer.finished() is None
    go_on.set()
    assert writer.wait() is not None
    close(writer)


def test_old_ones_are_deleted_after_the_new_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, go_on = make(tmp_path, keep=1), threading.Event()
    real = writer.store.collect_garbage
    monkeypatch.setattr(writer.store, "collect_garbage", lambda: (go_on.wait(60), real()))
    start(writer, 1)
    writer.join()
    assert writer.finished() is not None
    go_on.set()
    start(writer, 2)
    assert writer.wait() is not None
    assert writer.store.candidates() == ["g000001-s0000000002"]
    close(writer)


def test_a_failure_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = make(tmp_path)

    def fail(*_: object) -> str:
        raise StateError("no")

    monkeypatch.setattr(writer.store, "write_meta", fail)
    start(writer, 1)
    outcome = writer.wait()
    assert outcome is not None
    assert isinstance(outcome.error, StateError)
    assert names_in(writer.store.root) == []
    close(writer)


def test_a_fenced_writer_says_so_whatever_failed(tmp_path: Path) -> None:
    writer = make(tmp_path)
    generation.claim(tmp_path)
    start(writer, 1)
    outcome = writer.wait()
    assert outcome is not None
    assert isinstance(outcome.error, Fenced)
    close(writer)


def test_equal_states_have_equal_weights(tmp_path: Path) -> None:
    writer = make(tmp_path)
    weights = []
    for step, value in ((1, 5), (2, 5), (3, 6)):
        start(writer, step, value)
        writer.wait()
        loaded = writer.store.latest(pytest.fail)
        assert loaded is not None
        weights.append(loaded.meta["weights"])
    assert weights[0] == weights[1] != weights[2]
    close(writer)
