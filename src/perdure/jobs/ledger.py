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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from perdure.errors import PerdureError
from perdure.jobs import folder as folders
from perdure.jobs.lifecycle import status_in, unreadable
from perdure.jobs.workspace import Workspace, make_state_folder
from perdure.model.job import ENDED, JobHeading, JobStatus, State

LEDGER = "ledger.db"
RECENT = 10

_VERSION = 3
# For so long hosts are waited for that jobs run on; what they said last has to do then.
HOSTS_S = 3.0
_BUSY_S = 1.0
_STATES = {state.value: state for state in State}
_COLUMNS = (
    "job, inode, changed, settled, task, arguments, submitted, state, reason, attempt, step, "
    "durable_step, started, ended, began_again, last_event_at, target, saved_at, ticket"
)
# In the order in which they are wanted, so that reading them sorts nothing.
_TABLE = f"CREATE TABLE jobs ({_COLUMNS}, PRIMARY KEY (submitted, job)) WITHOUT ROWID"
_BY_NAME = "CREATE UNIQUE INDEX jobs_by_name ON jobs (job, inode)"
_PUT = f"INSERT OR REPLACE INTO jobs VALUES ({', '.join('?' * len(_COLUMNS.split(',')))})"  # noqa: S608
_SELECT = f"SELECT {_COLUMNS} FROM jobs ORDER BY submitted, job"  # noqa: S608
_SELECT_OPEN = f"SELECT {_COLUMNS} FROM jobs WHERE settled IN (0, 3)"  # noqa: S608
_ENDED = ", ".join(repr(state.value) for state in sorted(ENDED, key=str))
_SELECT_FEW = (
    f"SELECT {_COLUMNS} FROM jobs WHERE state NOT IN ({_ENDED}) OR job IN "  # noqa: S608
    f"(SELECT job FROM jobs WHERE state IN ({_ENDED}) ORDER BY submitted DESC LIMIT {RECENT}) "
    "ORDER BY submitted, job"
)

# A row of the table: its columns in their order.
Row = tuple[
    str,
    int,
    int,
    int,
    str,
    str | None,
    str,
    str,
    str,
    int,
    int | None,
    int | None,
    float | None,
    float | None,
    int,
    float | None,
    str,
    float | None,
    str | None,
]

# How far a row may be believed: not at all, while its folder's time stands still, for good; and
# while that stands still, but for what a scheduler says of it.
_LIVE, _RESTING, _FINAL, _QUEUED = range(4)
_FINAL_STATES = frozenset({State.SUCCEEDED})
_SETTLED = ENDED | {State.INTERRUPTED}


def statuses(
    workspace: Workspace,
    *,
    all: bool,  # noqa: A002 - as `ps --all`
    meanwhile: Callable[[], object] = tuple,
) -> list[JobStatus]:
    """Return where the project's jobs stand, in the order of their submission.

    Not `all`: those that have not ended, and the ten that were submitted last of those that have.
    Touches the disk, and asks the hosts of jobs that run elsewhere; `meanwhile` is called once, and
    while they are on their way where there are any.
    """
    project = workspace.project
    if project.results.is_dir() and not project.state.is_dir():
        # Run folders that came from elsewhere: without a ledger each look would read them all.
        with contextlib.suppress(OSError):
            make_state_folder(project)
    with uncollected(), _opened(project.state / LEDGER) as database:
        query = _SELECT if all else _SELECT_FEW
        found = _read(database, project.results, query, meanwhile)
    found.sort(key=lambda status: (status.record.submitted, status.record.job))
    if all:
        return found
    ended = [status.record.job for status in found if status.state in ENDED]
    old = frozenset(ended[:-RECENT])
    return [status for status in found if status.record.job not in old]


def count(workspace: Workspace) -> int:
    """Return how many jobs the ledger knew when they were last listed. Reads the disk."""
    with _opened(workspace.project.state / LEDGER) as database:
        if database is None:
            return 0
        try:
            (number,) = database.execute("SELECT COUNT(*) FROM jobs").fetchone()
        except sqlite3.DatabaseError:
            return 0
    return int(number)


def forget(workspace: Workspace, job: str) -> None:
    """Have the ledger read a job's record again: it has another target. Touches the disk."""
    with _opened(workspace.project.state / LEDGER) as database:
        _store(database, [], [job])


def _read(
    database: sqlite3.Connection | None,
    results: Path,
    query: str,
    meanwhile: Callable[[], object],
) -> list[JobStatus]:
    now = dict(_folders(results))
    known = {job: inode for job, inode, _ in _known(database)}
    looked, fresh = _look_again(database, results, now, known, meanwhile)
    gone = [] if known == now else [job for job in known if now.get(job) != known[job]]
    if fresh or gone:
        _store(database, fresh, gone)
    rows = [row for row in _select(database, query) if row[0] in now and row[0] not in looked]
    return [_status(results, row) for row in rows] + list(looked.values())


def _look_again(
    database: sqlite3.Connection | None,
    results: Path,
    now: Mapping[str, int],
    known: Mapping[str, int],
    meanwhile: Callable[[], object],
) -> tuple[dict[str, JobStatus], list[Row]]:
    """Return where those jobs stand that the ledger cannot tell of, and what it is to know."""
    base = os.fspath(results)
    looked: dict[str, JobStatus] = {}
    fresh: list[Row] = []
    live: list[tuple[str, int, tuple[JobHeading, str] | None]] = []
    new = [] if known == now else [job for job in now if now[job] != known.get(job)]
    for row in _select(database, _SELECT_OPEN):
        if now.get(row[0]) == row[1]:
            waits = _waiting(results, row) if row[3] == _QUEUED else None
            if waits is None:
                live.append((row[0], row[1], (_heading(results, row), row[16])))
            else:
                looked[row[0]] = waits
    for job, inode, changed in _known(database, _RESTING):
        if now.get(job) == inode and _changed(base, job) != changed:
            new.append(job)
    live += [(job, now[job], None) for job in new if folders.is_job(results / job)]
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
    trust, ticket = _LIVE, None
    if status.state in _settled(status) and not folders.is_alive(folder):
        trust = _FINAL if status.state in _FINAL_STATES else _RESTING
    elif status.asked_at is not None and not status.attempt:
        from perdure.jobs.waiting import ticket_of

        ticket = ticket_of(folder, status, changed)
        trust = _LIVE if ticket is None else _QUEUED
    if trust != _LIVE or fresh_job:
        fresh.append(_row(status, inode, changed, trust, ticket))
    return status


def _waiting(results: Path, row: Row) -> JobStatus | None:
    """Return where a job in a scheduler's queue stands, None where its folder has to be read."""
    if row[18] is None or _changed(os.fspath(results), row[0]) != row[2]:
        return None
    from perdure.jobs.waiting import status_waiting

    return status_waiting(_heading(results, row), row[16], row[18])


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
    )


def _heading(results: Path, row: Row) -> JobHeading:
    words = () if row[5] is None else tuple(row[5].split("\0"))
    return JobHeading(results, row[0], row[4], words, row[6])


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


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield the ledger, made anew where it is missing, broken or of another form; None without."""
    database = _open(file) or _open(file)
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _open(file: Path) -> sqlite3.Connection | None:
    try:
        database = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None)
    except sqlite3.Error:
        return None
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            _make(database)
    except sqlite3.OperationalError:
        # Locked, full or read-only: the folders say the same, only slower.
        database.close()
        return None
    except sqlite3.DatabaseError:
        database.close()
        _discard(file)
        return None
    return database


def _make(database: sqlite3.Connection) -> None:
    with database:
        database.execute("BEGIN IMMEDIATE")
        # Asked again: another process may have made it while this one waited.
        if database.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            database.execute("DROP TABLE IF EXISTS jobs")
            database.execute(_TABLE)
            database.execute(_BY_NAME)
            database.execute(f"PRAGMA user_version = {_VERSION}")


def _discard(file: Path) -> None:
    for path in (file, file.with_name(f"{file.name}-journal")):
        with contextlib.suppress(OSError):
            path.unlink()


def _select(database: sqlite3.Connection | None, query: str) -> list[Row]:
    if database is None:
        return []
    try:
        return database.execute(query).fetchall()
    except sqlite3.DatabaseError:
        return []


def _known(
    database: sqlite3.Connection | None, trust: int | None = None
) -> list[tuple[str, int, int]]:
    """Return job, inode and time of the folders the ledger knows, of one trust or of all."""
    if database is None:
        return []
    try:
        if trust is None:
            return database.execute("SELECT job, inode, 0 FROM jobs").fetchall()
        query = "SELECT job, inode, changed FROM jobs WHERE settled = ?"
        return database.execute(query, (trust,)).fetchall()
    except sqlite3.DatabaseError:
        return []


def _store(database: sqlite3.Connection | None, fresh: Iterable[Row], gone: Iterable[str]) -> None:
    if database is None:
        return
    try:
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("DELETE FROM jobs WHERE job = ?", [(job,) for job in gone])
            database.executemany(_PUT, fresh)
    except sqlite3.DatabaseError:
        # It is an index only: the next one who looks stores it.
        return
