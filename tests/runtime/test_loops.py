"""The loops a run offers, and notices in each of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from perdure.runtime import names
from perdure.runtime.loader import Keyed
from perdure.runtime.metrics import read_rows
from perdure.runtime.run import Interrupted, start
from tests.runtime.training import Noise, count_to


def test_steps_without_a_loader(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        count_to(tmp_path, 6, stop_at=3)
    assert count_to(tmp_path, 6) == [4, 5]
    assert count_to(tmp_path, 6) == []
    assert [row["sum"] for row in read_rows(str(tmp_path))] == [0, 1, 3, 6, 10, 15]


def test_epochs_alone_are_steps(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    assert [run.step for _ in run.epochs(3)] == [0, 1, 2]
    assert run.step == 3


def test_steps_inside_epochs(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    seen = [(epoch, step) for epoch in run.epochs(2) for step in run.steps(2)]
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert run.step == 4


def test_a_window_of_batches_is_one_step(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    loader = run.loader(Noise(), batch_size=8, accumulate=2)
    assert len(loader) == 5
    windows: list[tuple[int, bool]] = []
    for _ in run.epochs(1):
        windows = [(run.step, loader.window_done) for _ in loader]
    assert windows == [(0, False), (0, True), (1, False), (1, True), (2, True)]
    assert run.step == 3


def test_two_loaders_side_by_side(tmp_path: Path) -> None:
    def both(stop_at: int) -> list[tuple[float, float]]:
        run = start(1, folder=tmp_path)
        left = run.loader(list(range(6)), batch_size=1, shuffle=True)
        right = run.loader(list(range(6)), batch_size=1, shuffle=True)
        seen = []
        for _ in run.epochs(1):
            for a, b in zip(left, right, strict=True):
                seen.append((float(a), float(b)))
                if len(seen) == stop_at:
                    os.kill(os.getpid(), signal.SIGTERM)
        return seen

    part: list[tuple[float, float]] = []
    with pytest.raises(Interrupted):
        part = both(2)
    part = both(-1)
    assert len(part) == 4
    assert len({a for a, _ in part}) == 4


def test_notices_outside_of_the_epochs_end_the_process_at_once(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    state = {"n": 1}
    run.track(state=state)
    assert list(run.poll(range(2))) == [0, 1]
    for _ in run.epochs(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        list(run.poll(range(3)))


def test_a_notice_before_anything_was_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(1, folder=tmp_path)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        list(run.poll(range(3)))
    assert "nothing is durable yet" in capsys.readouterr().err


def validate_at_each_step(folder: Path, done: list[int]) -> None:
    """Interrupt step 1, and validate inside every step."""
    run = start(1, folder=folder)
    for step in run.steps(5):
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        done.extend(run.poll(range(2)))


def test_validation_inside_a_step_waits_for_its_end(tmp_path: Path) -> None:
    done: list[int] = []
    with pytest.raises(Interrupted):
        validate_at_each_step(tmp_path, done)
    assert done == [0, 1, 0, 1]


def test_validation_inside_a_step_ends_when_the_time_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.GRACE_S, "0.5")
    done: list[int] = []
    with pytest.raises(Interrupted):
        validate_at_each_step(tmp_path, done)
    assert done == [0, 1]


def test_without_torch_and_numpy_there_is_a_loader_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("torch", "numpy"):
        monkeypatch.delitem(sys.modules, library)
    run = start(1, folder=tmp_path)
    plain = run.loader(list("abcde"), batch_size=2, shuffle=True)
    summed = run.loader([1, 2, 3], batch_size=3, collate_fn=sum)
    for _ in run.epochs(1):
        assert sorted(letter for batch in plain for letter in batch) == list("abcde")
        assert list(summed) == [6]


class Together(Noise):
    """A data set that gives many items at once."""

    def __getitems__(self, indices: list[int]) -> list[int]:
        return [index * 10 for index in indices]


def test_a_data_set_may_give_many_items_at_once(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    loader = run.loader(Together(), batch_size=20, drop_last=True)
    for _ in run.epochs(1):
        assert [batch.tolist()[:2] for batch in loader] == [[0, 10], [200, 210]]
    assert Keyed(list("abcd"))[3] == "d"
