"""The ledger: an index over run folders, so that ten thousand jobs are listed at once.

It knows nothing that the run folders do not say, and may be lost at any time. What has ended is
taken from it; what has not is read from its folder each time, but for what waits in a scheduler's
queue. A run folder tells by its inode that it is another one, and by its own time that a new
attempt began or somebody ended it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import PerdureError
from perdure.jobs import folder as folders
from perdure.jobs import ledger_table as table
from perdure.jobs.ledger_table import RECENT, Row
from perdure.jobs.lifecycle import status_in, status_unbegun, unreadable
from perdure.jobs.workspace import Workspace, make_state_folder
from perdure.model.job import ENDED, JobHeading, JobStatus, State, TrialHeading

if TYPE_CHECKING:
    from perdure.targets.standing import Standing

LEDGER = "ledger.db"
#: So many that wait in a scheduler's queue are in a short list.
WAITING = 20

# For so long hosts are waited for that jobs run on; what they said last has to do then.
HOSTS_S = 3.0
_STATES = {state.value: state for state in State}
_FINAL_STATES = frozenset({State.SUCCEEDED})
_SETTLED = ENDED | {State.INTERRUPTED}


def statuses(
    workspace: Workspace,
    *,
    all: bool,  # noqa: A002 - as `ps --all`
    meanwhile: Callable[[], object] = tuple,
) -> list[JobStatus]:
    """Return where the project's jobs stand, in the order of their submission.

    Not `all`: those that have not ended, and the ten that were submitted last of those that have;
    of those that wait in a scheduler's queue the last `WAITING`. Touches the disk, and asks the
    hosts of jobs that run elsewhere; `meanwhile` is called once, and while they are on their way
    where there are any.
    """
    project = workspace.project
    if project.results.is_dir() and not project.state.is_dir():
        # Run folders that came from elsewhere: without a ledger each look would read them all.
        with contextlib.suppress(OSError):
            make_state_folder(project)
    with uncollected(), table.opened(project.state / LEDGER) as database:
        found = _read(database, project.results, all, meanwhile)
    found.sort(key=lambda status: (status.record.submitted, status.record.job))
    if all:
        return found
    ended = [status.record.job for status in found if status.state in ENDED]
    old = frozenset(ended[:-RECENT])
    return [status for status in found if status.record.job not in old]


def count(workspace: Workspace) -> int:
    """Return how many jobs the ledger knew when they were last listed. Reads the disk."""
    with table.opened(workspace.project.state / LEDGER) as database:
        if database is None:
            return 0
        try:
            (number,) = database.execute("SELECT COUNT(*) FROM jobs").fetchone()
        except sqlite3.DatabaseError:
            return 0
    return int(number)


def forget(workspace: Workspace, job: str) -> None:
    """Have the ledger read a job's record again: it has another target. Touches the disk."""
    with table.opened(workspace.project.state / LEDGER) as database:
        table.store(database, [], [job])


def _read(
    database: sqlite3.Connection | None,
    results: Path,
    every: bool,
    meanwhile: Callable[[], object],
) -> list[JobStatus]:
    now = dict(_folders(results))
    known = {job: inode for job, inode, _ in table.folders_known(database)}
    rows = [row for row in table.select(database, table.SELECT_OPEN) if now.get(row[0]) == row[1]]
    waits = _waiting(results, [row for row in rows if row[3] == table.QUEUED])
    live = [row for row in rows if row[0] not in waits]
    looked, fresh = _look_again(database, results, now, known, live, meanwhile)
    gone = [] if known == now else [job for job in known if now.get(job) != known[job]]
    if fresh or gone:
        table.store(database, fresh, gone)
    rest = table.select(database, table.SELECT if every else table.SELECT_FEW)
    told = [_status(results, row) for row in rest if row[0] in now and row[0] not in looked]
    queued = list(waits.values()) if every else list(waits.values())[-WAITING:]
    return [*told, *looked.values(), *_queued(results, queued)]


def _look_again(
    database: sqlite3.Connection | None,
    results: Path,
    now: Mapping[str, int],
    known: Mapping[str, int],
    rows: Sequence[Row],
    meanwhile: Callable[[], object],
) -> tuple[dict[str, JobStatus], list[Row]]:
    """Return where those jobs stand that the ledger cannot tell of, and what it is to know.

    `rows` are what it knows of some of them.
    """
    base = os.fspath(results)
    looked: dict[str, JobStatus] = {}
    fresh: list[Row] = []
    new = [] if known == now else [job for job in now if now[job] != known.get(job)]
    for job, inode, changed in table.folders_known(database, table.RESTING):
        if now.get(job) == inode and _changed(base, job) != changed:
            new.append(job)
    live: list[tuple[str, int, tuple[JobHeading, str] | None]] = [
        *((row[0], row[1], (_heading(results, row), row[16])) for row in rows),
        *((job, now[job], None) for job in new if folders.is_job(results / job)),
    ]
    with hosts_asked((results / job for job, _, _ in live), meanwhile):
        for job, inode, known_as in live:
            looked[job] = _look(results, job, inode, known_as, fresh)
    return looked, fresh


def hosts_asked(
    candidates: Iterable[Path], meanwhile: Callable[[], object] = tuple
) -> contextlib.AbstractContextManager[None]:
    """Ask the hosts of those jobs that are elsewhere, all at once; inside, those answers hold."""
    away = [folder for folder in candidates if folders.is_elsewhere(folder)]
    if not away:
        meanwhile()
        return contextlib.nullcontext()
    from perdure.jobs.mirror import refreshed

    return refreshed(away, HOSTS_S, meanwhile)


def _folders(results: Path) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(results) as entries:
            for entry in entries:
                if entry.name[0] != "." and entry.is_dir(follow_symlinks=False):
                    yield entry.name, entry.inode()
    except FileNotFoundError:
        return
    except OSError as error:
        raise PerdureError(
            f"cannot read `{results}`: {(error.strerror or str(error)).lower()}"
        ) from error


def _changed(base: str, job: str) -> int:
    try:
        return os.stat(f"{base}/{job}").st_mtime_ns  # noqa: PTH116 - for thousands of them
    except OSError:
        return -1


def _look(
    results: Path,
    job: str,
    inode: int,
    known_as: tuple[JobHeading, str] | None,
    fresh: list[Row],
) -> JobStatus:
    """Return where a job stands by its folder; what the ledger is to know of it goes to `fresh`."""
    folder, fresh_job = results / job, False
    # Taken before the events are read: what changes meanwhile is then looked at once more.
    changed = _changed(os.fspath(results), job)
    try:
        if known_as is None:
            record = folders.read_record(folder)
            known_as = record, record.target
            fresh_job = True
        status = status_in(folder, *known_as)
    except PerdureError as error:
        return unreadable(folder, error)
    trust, ticket = table.LIVE, None
    if status.state in _settled(status) and not folders.is_alive(folder):
        trust = table.FINAL if status.state in _FINAL_STATES else table.RESTING
    elif status.asked_at is not None and not status.attempt:
        from perdure.jobs.waiting import ticket_of

        ticket = ticket_of(folder, status, changed)
        trust = table.LIVE if ticket is None else table.QUEUED
    if trust != table.LIVE or fresh_job:
        fresh.append(_row(status, inode, changed, trust, ticket))
    return status


def _waiting(results: Path, rows: Sequence[Row]) -> dict[str, tuple[Row, Standing]]:
    """Return which jobs wait in a scheduler's queue, and how, by their names.

    Those that are not among them have folders to be read.
    """
    if not rows:
        return {}
    from perdure.jobs.waiting import standings

    base = os.fspath(results)
    changed: list[int] = []
    # Thousands of folders are looked at while the scheduler is asked.
    found = standings(
        [row[18] or "" for row in rows],
        lambda: changed.extend([_changed(base, row[0]) for row in rows]),
    )
    return {
        row[0]: (row, stands)
        for row, stands, time in zip(rows, found, changed, strict=True)
        if stands is not None and time == row[2]
    }


def _queued(results: Path, waits: Sequence[tuple[Row, Standing]]) -> list[JobStatus]:
    """Return where jobs stand that wait in a scheduler's queue."""
    return [status_unbegun(_heading(results, row), row[16], stands) for row, stands in waits]


def _settled(status: JobStatus) -> frozenset[State]:
    """Return the states in which nothing happens to a job without this machine's doing.

    One that was interrupted elsewhere may go on by itself: its engine starts it again.
    """
    return _SETTLED if status.asked_at is None else ENDED


def _row(status: JobStatus, inode: int, changed: int, trust: int, ticket: str | None) -> Row:
    heading = status.record
    return (
        heading.job,
        inode,
        changed,
        trust,
        heading.task,
        "\0".join(heading.arguments) if heading.arguments else None,
        heading.submitted,
        status.state.value,
        status.reason,
        status.attempt,
        status.step,
        status.durable_step,
        status.started,
        status.ended,
        int(status.began_again),
        status.last_event_at,
        status.target,
        status.saved_at,
        ticket,
        *(heading.place or (None, None)),
    )


def _heading(results: Path, row: Row) -> JobHeading:
    words = () if row[5] is None else tuple(row[5].split("\0"))
    known = (results, row[0], row[4], words, row[6])
    if row[19] is None or row[20] is None:
        return JobHeading(*known)
    return TrialHeading(*known, row[19], row[20])


def _status(results: Path, row: Row) -> JobStatus:
    return JobStatus(
        _heading(results, row),
        _STATES[row[7]],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
        None,
        row[14] == 1,
        row[15],
        target=row[16],
        saved_at=row[17],
    )


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from walking through ten thousand new values again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
