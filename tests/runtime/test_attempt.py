"""One attempt: what it takes over, what it refuses, and what it does when the disk fails."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import perdure
from perdure.runtime import disk, faults, names
from perdure.runtime.result import read_result
from perdure.runtime.run import Interrupted, start
from tests.runtime.training import count_to, wait_for_writer


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


def test_several_processes_join_a_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from perdure.runtime import group, ranks

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(group, "join", ranks.Solo)
    assert start(1, folder=tmp_path).world == 1
