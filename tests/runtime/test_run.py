"""A run as a training sees it: interrupted anywhere, it ends as if it had not been."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from perdure.runtime import names, probe
from perdure.runtime.attempt import Attempt
from perdure.runtime.notice import Notice
from perdure.runtime.result import read_result
from perdure.runtime.run import Interrupted, Run, start
from tests.runtime.training import assert_same, at, count_to, train, wait_for_writer


@pytest.mark.parametrize(
    ("step", "where", "times"),
    [(0, "step", 1), (2, "step", 1), (4, "step", 1), (5, "poll", 2), (5, "epoch", 1),
     (8, "step", 1), (10, "poll", 3), (14, "step", 1), (15, "poll", 1)],
)  # fmt: skip
def test_a_signal_anywhere_changes_nothing(
    tmp_path: Path, straight: Path, step: int, where: str, times: int
) -> None:
    with pytest.raises(Interrupted) as caught:
        train(tmp_path, at(step, where, times))
    assert caught.value.code == names.EXIT_INTERRUPTED
    train(tmp_path)
    assert_same(tmp_path, straight)


def test_workers_may_come_and_go(tmp_path: Path, straight: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, at(3, "step"), workers=2)
    train(tmp_path)
    assert_same(tmp_path, straight)


def test_workers_change_nothing(tmp_path: Path, straight: Path) -> None:
    train(tmp_path, workers=1)
    assert_same(tmp_path, straight)


def test_a_touched_file_interrupts_and_does_not_loop(tmp_path: Path, straight: Path) -> None:
    def touch(run: Run, where: str) -> None:
        if run.step == 6 and where == "step":
            (tmp_path / names.PREEMPT).touch()

    with pytest.raises(Interrupted):
        train(tmp_path, touch)
    train(tmp_path)
    assert (tmp_path / "PREEMPT.ack-g000001").exists()
    assert_same(tmp_path, straight)


def test_a_crash_goes_on_from_the_last_save(tmp_path: Path, straight: Path) -> None:
    def crash(run: Run, where: str) -> None:
        if where == "step" and run.step == 3:
            run.save()
        if where == "step" and run.step == 7:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(tmp_path, crash)
    wait_for_writer()
    run = train(tmp_path)
    assert_same(tmp_path, straight)
    assert run._attempt.keeper.interval.events == 1


def test_a_complete_run_has_nothing_to_do(tmp_path: Path, straight: Path) -> None:
    train(tmp_path)
    again = train(tmp_path)
    assert again.step == 15
    again.finish()
    assert_same(tmp_path, straight)


def test_replayed_code_leaves_nothing_behind(tmp_path: Path, straight: Path) -> None:
    """Validation is entered again: `schedule.step()` before it runs twice, and counts once."""
    with pytest.raises(Interrupted):
        train(tmp_path, at(10, "poll"))
    seen: list[int] = []

    def look(run: Run, where: str) -> None:
        seen.append(run.step)

    train(tmp_path, look)
    assert_same(tmp_path, straight)
    assert seen[0] == 10


def test_a_training_that_swallows_the_interruption_is_stopped_again(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    state = {"n": 0}
    run.track(state=state)
    steps = run.steps(10)
    next(steps)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        next(steps)
    with pytest.raises(Interrupted):
        run._attempt.act(periodic=True)


def test_a_drill_sees_what_the_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    monkeypatch.setenv(names.DRILL, '{"trace": true, "drop": []}')
    train(tmp_path, epochs=1)
    trace = tmp_path / "trace" / "000000.jsonl"
    kinds = [line.split(",")[0] for line in trace.read_text().splitlines()]
    assert kinds.count('{"kind":"boundary"') == 5
    assert kinds.count('{"kind":"batch"') == 5


def test_a_batch_that_is_no_tree_has_a_digest_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    monkeypatch.setenv(names.DRILL, '{"trace": true}')
    run = start(1, folder=tmp_path)
    loader = run.loader([1, 2], collate_fn=lambda items: {1, 2})
    for _ in run.epochs(1):
        assert len(list(loader)) == 2


@pytest.mark.parametrize("item", ["model", "position", "metrics", "rng.torch"])
def test_what_a_drill_drops_makes_a_difference(
    tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch, item: str
) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, at(7, "step"))
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    monkeypatch.setenv(names.DRILL, f'{{"drop": ["{item}"]}}')
    probe.forget()
    train(tmp_path)
    ours, theirs = read_result(str(tmp_path)), read_result(str(straight))
    assert ours is not None
    assert theirs is not None
    assert (ours.weights, ours.metrics) != (theirs.weights, theirs.metrics)


def test_a_result_needs_a_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    assert read_result(str(tmp_path)) is None
    count_to(tmp_path, 2)
    (tmp_path / "checkpoints" / "g000009-s0000000009").mkdir()
    result = read_result(str(tmp_path))
    assert result is not None
    assert result.step == 2
    for path in (tmp_path / "checkpoints").glob("g000001*/meta.json"):
        path.unlink()
    assert read_result(str(tmp_path)) is None


def test_the_attempt_can_be_asked_for_its_time_left(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    run._attempt.notices.give(Notice("aws", time.time() + 100))
    assert isinstance(run._attempt, Attempt)
    with pytest.raises(Interrupted):
        list(run.steps(3))
