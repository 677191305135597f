"""A sweep that is stopped: nothing of it runs any more, whoever had it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.launch import resume
from perdure.jobs.lifecycle import read_status
from perdure.jobs.recover import recoverable
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.sweeps import control
from perdure.sweeps.control import drive, go_on, stop
from perdure.sweeps.holding import is_driven
from perdure.sweeps.orphans import is_orphaned
from perdure.sweeps.standing import standing
from tests.jobs.projects import FOREVER, alive
from tests.sweeps.conftest import kill_driver
from tests.sweeps.sweeping import driven, over, swept
from tests.waiting import until


def job(workspace: Workspace, number: int) -> Path:
    return workspace.project.results / f"sweep-{number:04d}"


def saved(folder: Path) -> bool:
    return folder.exists() and (read_status(folder).durable_step or 0) >= 3


def test_what_a_dead_driver_has_left_running_saves_and_ends(workspace: Workspace) -> None:
    folder = driven(workspace, "x=1,2,3", arguments=("200",), max_running=2)
    until(lambda: saved(job(workspace, 1)) and saved(job(workspace, 2)))
    pids = [read_status(job(workspace, number)).pid for number in (1, 2)]
    kill_driver(folder)
    assert all(pid is not None and alive(pid) for pid in pids)
    assert stop(folder, 60.0)
    assert not any(pid is not None and alive(pid) for pid in pids)
    assert not is_driven(folder)
    assert not is_orphaned(folder)
    assert folders.attempts(job(workspace, 3)) == []
    # `perdure recover` goes on with none of them.
    assert {read_status(job(workspace, n)).state for n in (1, 2)} == {State.INTERRUPTED}
    assert recoverable(workspace) == []
    steps = [int((job(workspace, n) / "outputs" / "step").read_text()) for n in (1, 2)]
    go_on(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 3}
    for number, step in zip((1, 2), steps, strict=True):
        assert f"from step {step}\n" in folders.log_path(job(workspace, number), 2).read_text()


def test_so_does_what_somebody_resumed_by_hand(workspace: Workspace) -> None:
    folder = driven(workspace, "x=1,2", arguments=(FOREVER,), max_running=1)
    until(lambda: saved(job(workspace, 1)))
    assert stop(folder, 60.0)
    resume(workspace, folders.read_record(job(workspace, 1)))
    assert read_status(job(workspace, 1)).attempt == 2 or folders.is_alive(job(workspace, 1))
    assert stop(folder, 60.0)
    status = read_status(job(workspace, 1))
    assert (status.state, status.attempt) == (State.INTERRUPTED, 2)
    assert folders.attempts(job(workspace, 2)) == []


def test_a_driver_that_is_killed_while_it_stops_is_followed_by_another(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = driven(workspace, "x=1,2", arguments=(FOREVER,), max_running=1)
    until(lambda: saved(job(workspace, 1)))
    pid = read_status(job(workspace, 1)).pid
    changed = control.edit  # type: ignore[attr-defined]

    def killed(*arguments: object) -> object:
        found = changed(*arguments)  # type: ignore[arg-type]
        kill_driver(folder)
        return found

    monkeypatch.setattr(control, "edit", killed)
    assert stop(folder, 60.0)
    assert pid is not None
    assert not alive(pid)


def test_one_that_has_nothing_to_stop_needs_no_driver(workspace: Workspace) -> None:
    folder = swept(workspace, "x=1,2")
    assert stop(folder, 60.0)
    assert not (folder / "driver.log").exists()
    assert standing(workspace, folder).states == {State.QUEUED: 2}
