"""Jobs as a table and as JSON. Reads no disk, but for how old the last checkpoint is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from perdure.cli.table import Column, Table, make_table, shorten
from perdure.cli.words import duration
from perdure.model.job import ALIVE, JobStatus, State
from perdure.runtime import names

LOCAL = "local"

COLUMNS = (
    Column("JOB"),
    Column("TASK", give_way=3),
    Column("STATE", paint=True),
    Column("ATTEMPT", right=True, give_way=4),
    Column("STEP", right=True, give_way=1),
    Column("SAVED", right=True, give_way=2),
    Column("ELAPSED", right=True, give_way=5),
)
TARGET = Column("TARGET", give_way=6)
REASON_PLACES = 40
RECENT_S = 86400.0
MOST = 20
# Reasons that say no more than the state.
NOTHING_NEW = ("done", "cancelled", "interrupted")
URGENT = ALIVE | {State.LOST}


def job_table(statuses: Sequence[JobStatus], now: float) -> Table:
    """Return a row for each job; `now` in unix seconds. Where all are here, no target is named."""
    rows = [job_row(status, now) for status in statuses]
    if all(status.asked_at is None and status.target == LOCAL for status in statuses):
        return make_table(COLUMNS, rows)
    rows = [
        (job, status.target, *rest) for status, (job, *rest) in zip(statuses, rows, strict=True)
    ]
    return make_table((COLUMNS[0], TARGET, *COLUMNS[1:]), rows)


def job_row(status: JobStatus, now: float) -> tuple[str, ...]:
    """Return the cells of one job."""
    return (
        status.record.job,
        status.record.task,
        state_cell(status, now),
        str(status.attempt) if status.attempt else "-",
        "-" if status.step is None else str(status.step),
        saved_cell(status, now),
        elapsed_cell(status, now),
    )


def state_cell(status: JobStatus, now: float) -> str:
    """Return the state, with its reason where that says more, and how old the word of it is."""
    reason = "" if status.reason in NOTHING_NEW else shorten(status.reason, REASON_PLACES)
    if status.problem:
        age = f", {duration(now - status.asked_at)} ago" if status.asked_at else ""
        reason = "; ".join(filter(None, [reason, f"unreachable{age}"]))
    return f"{status.state.value} ({reason})" if reason else status.state.value


def saved_cell(status: JobStatus, now: float) -> str:
    """Return the step that was saved last and how long ago, the age only where the job goes on."""
    if status.durable_step is None:
        return "-"
    saved_at = None
    if status.state in ALIVE:
        # Checkpoints of another host are not here: what it told of them is.
        away = status.asked_at is not None
        saved_at = status.saved_at if away else last_save(status.record.folder)
    if saved_at is None:
        return str(status.durable_step)
    return f"{status.durable_step}, {duration(now - saved_at)} ago"


def last_save(folder: Path) -> float | None:
    """Return when the newest checkpoint got its name (unix seconds), None where there is none."""
    try:
        with os.scandir(folder / names.CHECKPOINTS) as entries:
            return max((entry.stat().st_mtime for entry in entries), default=None)
    except OSError:
        return None


def elapsed_cell(status: JobStatus, now: float) -> str:
    """Return how long the job has run, or ran."""
    if status.started is None:
        return "-"
    end = now if status.state in ALIVE else (status.ended or status.last_event_at or now)
    return duration(end - status.started)


def recent(statuses: Sequence[JobStatus], now: float) -> list[JobStatus]:
    """Return what `ps` lists unasked: jobs that have not ended, or ended within a day; 20 at most.

    Those that run or are lost come before all others, then the newest; the order stays.
    """
    fresh = [each for each in statuses if each.ended is None or now - each.ended <= RECENT_S]
    urgent = [each for each in fresh if each.state in URGENT]
    others = [each for each in fresh if each.state not in URGENT]
    shown = {each.record.job for each in newest(urgent, MOST)}
    shown |= {each.record.job for each in newest(others, MOST - len(shown))}
    return [each for each in fresh if each.record.job in shown]


def newest(statuses: Sequence[JobStatus], count: int) -> Sequence[JobStatus]:
    """Return the last `count` of them; none for a count below 1."""
    return statuses[-count:] if count > 0 else ()


def job_json(status: JobStatus) -> dict[str, object]:
    """Return what a program wants to know of a job; times are unix seconds."""
    return {
        "job": status.record.job,
        "task": status.record.task,
        "arguments": list(status.record.arguments),
        "submitted": status.record.submitted,
        "state": status.state.value,
        "reason": status.reason,
        "attempt": status.attempt,
        "step": status.step,
        "durable_step": status.durable_step,
        "started": status.started,
        "ended": status.ended,
        "last_event_at": status.last_event_at,
        "pid": status.pid,
        "began_again": status.began_again,
        "folder": str(status.record.folder),
        "target": status.target,
        "asked_at": status.asked_at,
        "problem": status.problem,
    }


def unreachable(statuses: Sequence[JobStatus]) -> dict[str, str]:
    """Return why hosts did not answer, by target."""
    return {status.target: status.problem for status in statuses if status.problem}


def lost(statuses: Sequence[JobStatus]) -> list[JobStatus]:
    """Return the jobs that were running when their machine or supervisor went down."""
    return [status for status in statuses if status.state is State.LOST]
