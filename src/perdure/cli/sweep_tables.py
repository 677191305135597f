"""A sweep as tables, CSV, JSON and a picture. Reads no disk."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.cli.table import Column, Table, make_table, shorten
from perdure.cli.words import counted, duration
from perdure.model.job import ENDED, State

if TYPE_CHECKING:
    from perdure.sweeps.standing import Standing, Trial

NOTHING = "-"
_REASON_PLACES = 50
_ORDER = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.RUNNING, State.QUEUED)


def sweeps_table(found: Sequence[Standing]) -> Table:
    """Return a row for each sweep."""
    columns = (
        Column("SWEEP"),
        Column("TASK", give_way=2),
        Column("TRIALS", right=True),
        Column("STATE", paint=True),
        Column("PROGRESS"),
    )
    return make_table(
        columns,
        [
            (each.sweep.name, each.sweep.task, str(each.count), state_of(each), progress(each))
            for each in found
        ],
    )


def state_of(found: Standing) -> str:
    """Return a sweep's state, with what it waits for."""
    if found.problem:
        return f"UNKNOWN ({found.problem})"
    if found.over:
        return "FAILED" if found.states.get(State.FAILED) else "SUCCEEDED"
    waits = found.driver.waits if found.driver else ""
    if found.driven:
        return f"RUNNING ({waits})" if waits else "RUNNING"
    if found.sweep.stopped:
        return f"STOPPED ({found.sweep.why})" if found.sweep.why else "STOPPED"
    return "LOST (its driver is gone)" if found.orphaned else "INTERRUPTED"


def progress(found: Standing) -> str:
    """Return how many trials stand where: `40 succeeded, 2 failed, 58 queued`."""
    states = found.states
    named = [state for state in _ORDER if state in states]
    named += [state for state in states if state not in _ORDER]
    return ", ".join(f"{states[state]:,} {state.value.lower()}" for state in named) or "no trials"


def summary_lines(found: Standing, now: float) -> list[str]:
    """Return what stands above a sweep's table."""
    ended = sum(count for state, count in found.states.items() if state in ENDED)
    share = f"{ended:,} of {counted(found.count, 'job')} ended"
    lines = [f"{found.sweep.name}: {state_of(found)}; {share}: {progress(found)}"]
    started = [t.status.started for t in found.trials if t.status and t.status.started]
    if started and found.driven and 0 < ended < found.count:
        left = (now - min(started)) / ended * (found.count - ended)
        lines.append(f"about {duration(left)} to go")
    return lines


def trials_table(found: Standing, trials: Sequence[Trial], metric: str | None) -> Table:
    """Return a row for each trial: its values, its state, its best metric."""
    from perdure.sweeps.standing import best_of, direction_of

    axes = list(found.sweep.texts)
    columns = [Column("JOB"), *map(Column, axes), Column("STATE", paint=True)]
    direction = None
    if metric is not None:
        direction = direction_of(metric, found.sweep.search.direction)
        word = "HIGHEST" if direction == "maximize" else "LOWEST"
        columns += [Column(f"{word} {metric}", right=True), Column("LAST", right=True, give_way=1)]
    rows = []
    for trial in trials:
        row = [trial.job, *(trial.values.get(axis, NOTHING) for axis in axes), _state(trial)]
        if metric is not None and direction is not None:
            figures = trial.metrics.get(metric)
            row += (
                [NOTHING, NOTHING]
                if figures is None
                else [_figure(best_of(figures, direction)), _figure(figures.last)]
            )
        rows.append(row)
    return make_table(tuple(columns), rows)


def as_csv(found: Standing, trials: Sequence[Trial]) -> str:
    """Return all that is known of the trials as CSV: last, lowest and highest of each metric."""
    axes = list(found.sweep.texts)
    metrics = found.metrics()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [f"{name}{suffix}" for name in metrics for suffix in ("", ":lowest", ":highest")]
    writer.writerow(["job", "trial", *axes, "state", "reason", "attempt", *heads])
    for trial in trials:
        status = trial.status
        row: list[object] = [trial.job, trial.number, *(trial.values.get(a, "") for a in axes)]
        row += [trial.state.value, *((status.reason, status.attempt) if status else ("", 0))]
        for name in metrics:
            figures = trial.metrics.get(name)
            row += [figures.last, figures.low, figures.high] if figures else ["", "", ""]
        writer.writerow(row)
    return text.getvalue()


def as_json(found: Standing, trials: Sequence[Trial]) -> dict[str, object]:
    """Return a sweep for a program."""
    return {
        "sweep": found.sweep.name,
        "task": found.sweep.task,
        "state": state_of(found).partition(" ")[0],
        "driven": found.driven,
        "waits": found.driver.waits if found.driver else "",
        "why": found.sweep.why,
        "count": found.count,
        "states": {state.value: number for state, number in found.states.items()},
        "max_running": found.sweep.max_running,
        "axes": dict(found.sweep.texts),
        "problem": found.problem,
        "trials": [trial_json(trial) for trial in trials],
    }


def trial_json(trial: Trial) -> dict[str, object]:
    """Return a trial for a program."""
    status = trial.status
    return {
        "trial": trial.number,
        "job": trial.job,
        "values": dict(trial.values),
        "state": trial.state.value,
        "reason": status.reason if status else "",
        "attempt": status.attempt if status else 0,
        "metrics": {
            name: {"last": each.last, "lowest": each.low, "highest": each.high}
            for name, each in trial.metrics.items()
        },
    }


def _state(trial: Trial) -> str:
    status = trial.status
    if status is None or trial.state is State.SUCCEEDED or not status.reason:
        return trial.state.value
    return f"{trial.state.value} ({shorten(status.reason, _REASON_PLACES)})"


def _figure(value: float) -> str:
    return f"{value:.6g}"
