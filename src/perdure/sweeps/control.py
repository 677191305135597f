"""Sweeps that are there: driven again, stopped, gone on with, extended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from perdure.errors import PerdureError, TimeoutExpired, UsageError
from perdure.hosts import local
from perdure.jobs.ledger import statuses
from perdure.jobs.workspace import Workspace, locate_workspace, storing
from perdure.model.job import ALIVE, State
from perdure.model.project import Project
from perdure.model.sweep import SEED, Axis
from perdure.sweeps.holding import STOPPED, is_driven, last_word
from perdure.sweeps.notation import new_values, parse_axis, require_seeds
from perdure.sweeps.ownership import trial_told
from perdure.sweeps.record import (
    DRIVER_LOG,
    Sweep,
    edit,
    read_sweep,
    wanting,
)
from perdure.targets.supervision import last_words

START_S = 60.0
_POLL_S = 0.005
# So many are begun to stop a sweep, one after the other.
_DRIVERS = 4


def drive(
    project: Project,
    folder: Path,
    *,
    passed: Mapping[str, str] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Return whether a driver was begun: a sweep that has one keeps it. Starts a process.

    `passed` are variables for its jobs that are not recorded. Of those that it was submitted with
    each has to be there, but for a sweep that is stopped: nothing of it begins.

    Raises:
        PerdureError: it ended at once; its last words are the hint.
        StorageError: the sweep's folder cannot be written.
        TimeoutExpired: it does not begin.
        UsageError: nobody can read its axes, or a variable is not there that its jobs get.
    """
    if is_driven(folder):
        return False
    sweep = read_sweep(folder)
    around = {**os.environ, **(passed or {})}
    require_passed(sweep, around)
    problem = sweep.problem
    if problem:
        raise UsageError(
            f"the sweep `{folder.name}` cannot go on: {problem}",
            hint=f"perdure sweep results {folder.name}; the same values again: perdure sweep TASK",
        )
    log = folder / DRIVER_LOG
    began = log.stat().st_size if log.exists() else 0
    # -P: what lies in the folder it is started from is not what it imports.
    words = (sys.executable, "-P", "-m", "perdure.sweeps.program")
    with storing("the driver's log"):
        pid = local.spawn_detached(
            (*words, os.fspath(project.root), folder.name),
            env=around,
            cwd=folder,
            log=log,
        )
    return _await_driver(folder, pid, began, pause)


def _await_driver(folder: Path, pid: int, began: int, pause: Callable[[float], None]) -> bool:
    """Return whether the process that was begun drives the sweep, and not another one."""
    deadline = time.monotonic() + START_S
    while True:
        word = last_word(folder)
        if word is not None and word.pid == pid:
            return True
        code = local.exit_code_of(pid)
        if code is not None and not is_driven(folder):
            raise PerdureError(
                f"the driver of the sweep `{folder.name}` ended at once (exit code {code})",
                hint=last_words(folder / DRIVER_LOG, since=began),
            )
        if code is not None:
            return False
        if time.monotonic() > deadline:
            local.kill_group(pid)
            raise TimeoutExpired(f"the driver of `{folder.name}` did not begin in {START_S:g} s")
        pause(_POLL_S)


def require_passed(sweep: Sweep, around: Mapping[str, str]) -> None:
    """Return if all variables are there that a sweep's jobs get from who starts its driver.

    Raises:
        UsageError: one is not, and the sweep is not stopped.
    """
    lacking = sweep.lacks(around)
    if lacking and not sweep.stopped:
        given = " ".join(f"{name}=..." for name in lacking)
        listed = ", ".join(f"`{name}`" for name in lacking)
        raise UsageError(
            f"the jobs of `{sweep.name}` get {listed} from who starts its driver (`--env`), and "
            "that is not set here",
            hint=f"start it where it is: {given} perdure sweep resume {sweep.name}",
        )


def stop(folder: Path, timeout_s: float, *, pause: Callable[[float], None] = time.sleep) -> bool:
    """Return whether nothing of a sweep runs any more; what ran was asked to save first.

    It stays so until `go_on`. Where no driver lives one is begun, for jobs go on without any.
    False: it still waits for jobs after that time, and says for which.

    Raises as `drive`, and PerdureError where one driver after the other is gone before that.
    """
    edit(folder, lambda sweep: wanting(sweep, stopped=True, why="asked to"))
    workspace = locate_workspace(folder)
    deadline = time.monotonic() + timeout_s
    if not is_driven(folder):
        if not _may_run(workspace, folder.name):
            return True
        drive(workspace.project, folder, pause=pause)
    left = _DRIVERS
    while is_driven(folder) or not _has_stopped(folder):
        if time.monotonic() > deadline:
            return False
        if not is_driven(folder):
            left -= 1
            if not left:
                raise PerdureError(
                    f"the drivers of the sweep `{folder.name}` end before it has stopped",
                    hint=last_words(folder / DRIVER_LOG),
                )
            drive(workspace.project, folder, pause=pause)
        pause(_POLL_S)
    return True


def _may_run(workspace: Workspace, name: str) -> bool:
    """Return whether a job of a sweep runs, waits in a queue, or was lost with its driver."""
    return any(
        status.state in (*ALIVE, State.LOST, State.QUEUED) and trial_told(name, status) is not None
        for status in statuses(workspace, all=True)
    )


def _has_stopped(folder: Path) -> bool:
    """Return whether the driver that lived last saw to it that all of its sweep stopped."""
    word = last_word(folder)
    return word is not None and (bool(word.over) or word.waits == STOPPED)


def go_on(folder: Path) -> Sweep:
    """Return a sweep that may run again; `drive` has to follow."""
    return edit(folder, lambda sweep: wanting(sweep, stopped=False, why=""))


def retry(folder: Path, failed: Mapping[int, int]) -> Sweep:
    """Return a sweep of which some trials run again; `failed` are they, with their attempts.

    One that was stopped may run again then; where none of them failed nothing changes.
    """
    if not failed:
        return read_sweep(folder)
    again = {str(trial): attempt for trial, attempt in failed.items()}
    return edit(
        folder,
        lambda sweep: wanting(sweep, stopped=False, why="", again={**sweep.again, **again}),
    )


def extend(
    folder: Path,
    axes: Mapping[str, str],
    *,
    trials: int | None = None,
    max_running: int | None = None,
) -> Sweep:
    """Return a sweep with more values on its axes, more trials, or more of them at once.

    One that was stopped may run again where there is more to run.

    Raises:
        UsageError: an axis that it has not, values that are not new, nothing to change.
    """
    return edit(folder, lambda sweep: _extended(sweep, axes, trials, max_running))


def bad_states(*, failed: bool, cancelled: bool) -> frozenset[State]:
    """Return the states of trials that `retry` begins again."""
    wanted = {State.FAILED: failed, State.CANCELLED: cancelled}
    return frozenset(state for state, asked in wanted.items() if asked)


def _extended(
    sweep: Sweep, axes: Mapping[str, str], trials: int | None, max_running: int | None
) -> Sweep:
    if not axes and trials is None and max_running is None:
        raise UsageError(
            "say what there is to be more of",
            hint=f"perdure sweep extend {sweep.name} seed=5..9",
        )
    if sweep.search.kind == "grid":
        if trials is not None:
            raise UsageError("a grid has as many trials as combinations", hint="NAME=VALUE,VALUE")
    elif axes:
        raise UsageError(
            f"the values of `{sweep.name}` are drawn: its axes stay as they are", hint="--trials N"
        )
    changed = _with_axes(sweep, axes) if axes else sweep
    if trials is not None:
        if trials < 1:
            raise UsageError("`--trials` is 1 or more", hint="--trials 10")
        before = sweep.search.trials or 0
        changed = wanting(changed, search=replace(sweep.search, trials=before + trials))
    more = changed is not sweep
    if max_running is not None:
        _check_most(sweep, max_running, more=more)
        changed = wanting(changed, max_running=max_running)
    return wanting(changed, stopped=False, why="") if more else changed


def _check_most(sweep: Sweep, max_running: int, *, more: bool) -> None:
    if max_running < 1:
        raise UsageError("`--max-running` is 1 or more", hint="--max-running 2")
    if max_running == sweep.max_running and not more:
        raise UsageError(
            f"`{sweep.name}` has {max_running} at a time already",
            hint=f"perdure sweep extend {sweep.name} --max-running {max_running + 1}",
        )


def _with_axes(sweep: Sweep, axes: Mapping[str, str]) -> Sweep:
    known = {axis.name: axis for axis in sweep.axes}
    more: dict[str, Axis] = {}
    for name, text in axes.items():
        if name not in known:
            listed = ", ".join(known)
            raise UsageError(
                f"the sweep `{sweep.name}` has no axis `{name}`", hint=f"its axes: {listed}"
            )
        more[name] = new_values(parse_axis(name, text, sweep.axes_as), known[name])
        if name == SEED:
            require_seeds(more[name])
    grid = sweep.grid.extended(more)
    boxes = tuple({axis.name: axis.text for axis in box} for box in grid.boxes)
    changed = wanting(sweep, boxes=boxes)
    if changed.problem:
        # Old and new values of an axis stand in one list, where another is extended after it.
        raise UsageError(
            f"the sweep `{sweep.name}` cannot be extended by that: {changed.problem}",
            hint=f"as a sweep of its own: perdure sweep {sweep.task} NAME=VALUE,VALUE",
        )
    return changed
