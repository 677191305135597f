"""A run as a training sees it: interrupted anywhere, it ends as if it had not been."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import perdure
from perdure.runtime import disk, faults, names, notice, probe
from perdure.runtime.attempt import Attempt
from perdure.runtime.metrics import read_rows
from perdure.runtime.result import read_result
from perdure.runtime.run import Interrupted, Run, start


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Give back the signals and the hook that a run takes."""
    before = {number: signal.getsignal(number) for number in notice.SIGNALS}
    hook = sys.excepthook
    probe.forget()
    yield
    probe.forget()
    sys.excepthook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


class Noise:
    """Items that draw from every generator: exact only if those are kept apart and restored."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        scale = random.random() + float(np.random.rand())
        return torch.randn(4) * scale + index / 40, index % 2


Hook = Callable[[Run, str], None]


def nothing(run: Run, where: str) -> None:
    """Let the training be."""


def train(folder: Path, hook: Hook = nothing, *, workers: int = 0, epochs: int = 3) -> Run:
    """Train a little network with all that is hard: dropout, schedule, validation, own state."""
    run = start(7, folder=folder, save_every=1000)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    average = {"loss": 0.0, "seen": 0}
    run.track(model=model, optimizer=optimizer, schedule=schedule, average=average)
    loader = run.loader(Noise(), batch_size=8, shuffle=True, num_workers=workers)
    for _ in run.epochs(epochs):
        average["seen"] = 0
        shift = torch.rand(1)
        run.log(shift=shift)
        hook(run, "epoch")
        for x, y in loader:
            noisy = x + shift + random.random() * 0.01 + float(np.random.rand()) * 0.01
            loss = torch.nn.functional.cross_entropy(model(noisy), y)
            optimizer.zero_grad()
            loss.backward()
            hook(run, "step")
            optimizer.step()
            average["loss"] = 0.9 * average["loss"] + 0.1 * loss.item()
            average["seen"] += len(y)
            run.log(loss=loss, average=average["loss"])
        schedule.step()
        model.eval()
        total = 0.0
        for item in run.poll(range(3)):
            hook(run, "poll")
            total += item * float(torch.rand(1))
        model.train()
        run.log(total=total, seen=average["seen"])
    return run


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the uninterrupted run."""
    before = {number: signal.getsignal(number) for number in notice.SIGNALS}
    folder = tmp_path_factory.mktemp("straight")
    run = train(folder)
    assert (run.step, run.epoch, run.rank, run.world, run.seed) == (15, 3, 0, 1, 7)
    for number, handler in before.items():
        signal.signal(number, handler)
    return folder


def assert_same(folder: Path, straight: Path) -> None:
    """Hold that two folders came to the same weights, state and rows."""
    ours, theirs = read_result(str(folder)), read_result(str(straight))
    assert ours is not None
    assert theirs is not None
    assert read_rows(str(folder)) == read_rows(str(straight))
    assert (ours.weights, ours.tree, ours.rows) == (theirs.weights, theirs.tree, theirs.rows)
    assert ours.complete
    assert ours.tensors == theirs.tensors


def at(step: int, where: str, times: int = 1) -> Hook:
    """Return a hook that sends SIGTERM once the run is at a step and place."""
    count = [0]

    def hook(run: Run, place: str) -> None:
        if place == where and run.step == step:
            count[0] += 1
            if count[0] == times:
                os.kill(os.getpid(), signal.SIGTERM)

    return hook


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


def wait_for_writer() -> None:
    """Wait for the save that a crashed training still had under way."""
    for thread in threading.enumerate():
        if thread.name == "perdure-writer":
            thread.join()


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


def count_to(folder: Path, last: int, stop_at: int = -1) -> list[int]:
    """Count with `run.steps`, tracked; return the steps seen."""
    run = start(1, folder=folder)
    state = {"sum": 0}
    run.track(state=state)
    seen = []
    for step in run.steps(last):
        state["sum"] += step
        run.log(sum=state["sum"])
        seen.append(step)
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
    return seen


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


def test_a_save_under_way_is_the_last_when_there_is_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.GRACE_S, "0.1")
    release = threading.Event()
    write = disk.write_small

    def slow(path: str, data: bytes) -> None:
        release.wait()
        write(path, data)

    run = start(1, folder=tmp_path)
    steps = run.steps(9)
    next(steps)
    monkeypatch.setattr(disk, "write_small", slow)
    run.save()
    next(steps)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Timer(0.05, release.set).start()
    with pytest.raises(Interrupted):
        next(steps)
    result = read_result(str(tmp_path))
    assert result is not None
    assert result.step == 1


def test_a_second_save_waits_for_the_first(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    for _ in run.steps(3):
        run._attempt.save("interval")
        run._attempt.save("interval")
    assert run.step == 3


def test_a_periodic_save_that_fails_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    run = start(1, folder=tmp_path)
    steps = run.steps(4)
    next(steps)
    monkeypatch.setattr(disk, "write", full)
    run.save()
    next(steps)
    wait_for_writer()
    next(steps)
    assert "No space left on device" in capsys.readouterr().err
    with pytest.raises(faults.SaveError, match="could not be written"):
        list(steps)
    monkeypatch.undo()
    assert count_to(tmp_path / "other", 2) == [0, 1]


def test_metrics_that_cannot_be_written_are_a_warning_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(1, folder=tmp_path)
    run.log(x=1)
    assert run._attempt.segment is not None
    monkeypatch.setattr(run._attempt.segment, "log", lambda row: OSError("full"))
    run.log(x=2)
    run.log(x=3)
    assert capsys.readouterr().err.count("metrics cannot be written") == 1


def test_a_newer_attempt_fences_the_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = start(1, folder=tmp_path)
    steps = old.steps(9)
    next(steps)
    start(1, folder=tmp_path)
    old.save()
    with pytest.raises(SystemExit) as caught:
        list(steps)
    assert caught.value.code == names.EXIT_FENCED
    assert "superseded by generation 2" in capsys.readouterr().err


def test_another_training_is_refused_by_name(tmp_path: Path) -> None:
    count_to(tmp_path, 2)
    run = start(1, folder=tmp_path)
    run.track(other={})
    with pytest.raises(faults.MismatchError, match="`state`, this one tracks `other`"):
        list(run.steps(3))


def test_another_number_of_ranks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_to(tmp_path, 2)
    run = start(1, folder=tmp_path)
    run.track(state={})
    monkeypatch.setattr(run._attempt.ranks, "world", 4, raising=False)
    with pytest.raises(faults.MismatchError, match="1 ranks, now there are 4"):
        list(run.steps(3))


def test_other_versions_are_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count_to(tmp_path, 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        count_to(tmp_path, 2)
    finally:
        torch.set_num_threads(threads)
    assert f"threads {threads} -> {threads + 1}" in capsys.readouterr().err


def test_the_supervisors_generation_seed_and_folder_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gen-000004").touch()
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    monkeypatch.setenv(names.GENERATION, "4")
    monkeypatch.setenv(names.SEED, "99")
    run = perdure.start()
    assert (run.folder, run.seed, run._attempt.generation) == (tmp_path, 99, 4)
    assert run.outputs.is_dir()
    with pytest.raises(AttributeError, match="nothing"):
        perdure.nothing  # noqa: B018


def test_alone_a_new_folder_and_seed_are_made_and_the_seed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = start()
    assert run.folder.parent.name == "results"
    assert f"PERDURE_RUN_DIR={run.folder}" in capsys.readouterr().err
    list(run.steps(1))
    again = start(folder=run.folder)
    list(again.steps(1))
    assert again.seed == run.seed


@pytest.mark.parametrize(
    "call",
    [
        lambda path: start(1, folder=path, keep=0),
        lambda path: start(1, folder=path, save_every="often"),
        lambda path: start(1, folder=path, save_every=0),
        lambda path: start(1, folder=path).loader(iter([1])),  # type: ignore[arg-type]
        lambda path: start(1, folder=path).loader([1], batch_size=0),
        lambda path: list(start(1, folder=path).loader([1])),
    ],
)
def test_misuse_is_named(call: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(faults.MisuseError):
        call(tmp_path)


def test_tracking_late_or_twice_is_misuse(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    run.track(a={})
    with pytest.raises(faults.MisuseError, match="`a` is tracked already"):
        run.track(a={})
    list(run.steps(1))
    with pytest.raises(faults.MisuseError, match="after the run has begun"):
        run.track(b={})
    with pytest.raises(faults.MisuseError, match="one loop"):
        list(run.epochs(1))


def test_a_fault_is_shown_as_an_error_and_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    start(1, folder=tmp_path)
    assert sys.excepthook is not sys.__excepthook__
    sys.excepthook(faults.Fault, faults.Fault("it failed", "do this"), None)
    assert capsys.readouterr().err == "error: it failed\nhint: do this\n"
    sys.excepthook(ValueError, ValueError("mine"), None)
    assert "ValueError: mine" in capsys.readouterr().err


def test_without_torch_and_numpy_there_is_a_loader_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("torch", "numpy"):
        monkeypatch.delitem(sys.modules, library)
    run = start(1, folder=tmp_path)
    plain = run.loader(list("abcde"), batch_size=2, shuffle=True)
    summed = run.loader([1, 2, 3], batch_size=3, collate_fn=sum)
    for _ in run.epochs(1):
        assert sorted(letter for batch in plain for letter in batch) == list("abcde")  # type: ignore[attr-defined]
        assert list(summed) == [6]


class Together(Noise):
    """A data set that gives many items at once."""

    def __getitems__(self, indices: list[int]) -> list[int]:
        return [index * 10 for index in indices]


def test_a_data_set_may_give_many_items_at_once(tmp_path: Path) -> None:
    run = start(1, folder=tmp_path)
    loader = run.loader(Together(), batch_size=20, drop_last=True)
    for _ in run.epochs(1):
        assert [batch.tolist()[:2] for batch in loader] == [[0, 10], [200, 210]]  # type: ignore[attr-defined]
    assert loader._dataset[3][1] == 1


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


def test_several_processes_join_a_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from perdure.runtime import group, ranks

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(group, "join", ranks.Solo)
    assert start(1, folder=tmp_path).world == 1


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
    run._attempt.notices.give(notice.Notice("aws", time.time() + 100))
    assert isinstance(run._attempt, Attempt)
    with pytest.raises(Interrupted):
        list(run.steps(3))
