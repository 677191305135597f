"""The ledger's file: one table of what run folders said, which may be lost at any time.

Where the database cannot be opened, read or written, it is as if it were empty.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from perdure.model.job import ENDED

#: So many that have ended are in a short list.
RECENT = 10

#: How far a row may be believed: not at all, while its folder's time stands still, for good; and
#: while that stands still, but for what a scheduler says of it.
LIVE, RESTING, FINAL, QUEUED = range(4)

_VERSION = 4
_BUSY_S = 1.0
_COLUMNS = (
    "job, inode, changed, settled, task, arguments, submitted, state, reason, attempt, step, "
    "durable_step, started, ended, began_again, last_event_at, target, saved_at, ticket, "
    "sweep, trial"
)
# In the order in which they are wanted, so that reading them sorts nothing.
_TABLE = f"CREATE TABLE jobs ({_COLUMNS}, PRIMARY KEY (submitted, job)) WITHOUT ROWID"
_BY_NAME = "CREATE UNIQUE INDEX jobs_by_name ON jobs (job, inode)"
_PUT = f"INSERT OR REPLACE INTO jobs VALUES ({', '.join('?' * len(_COLUMNS.split(',')))})"  # noqa: S608
_ORDER = "ORDER BY submitted, job"
_OPEN = f"settled IN ({LIVE}, {QUEUED})"
#: Of those that the ledger can tell of: all, and those of a short list; and of the others.
SELECT = f"SELECT {_COLUMNS} FROM jobs WHERE NOT {_OPEN} {_ORDER}"  # noqa: S608
_ENDED = ", ".join(repr(state.value) for state in sorted(ENDED, key=str))
SELECT_FEW = (
    f"SELECT {_COLUMNS} FROM jobs WHERE NOT {_OPEN} AND (state NOT IN ({_ENDED}) OR job IN "  # noqa: S608
    f"(SELECT job FROM jobs WHERE state IN ({_ENDED}) ORDER BY submitted DESC LIMIT {RECENT})) "
    f"{_ORDER}"
)
SELECT_OPEN = f"SELECT {_COLUMNS} FROM jobs WHERE {_OPEN} {_ORDER}"  # noqa: S608

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
    str | None,
    int | None,
]


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection | None]:
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


def select(database: sqlite3.Connection | None, query: str) -> list[Row]:
    """Return the rows of one of the queries above. Reads the disk."""
    if database is None:
        return []
    try:
        return database.execute(query).fetchall()
    except sqlite3.DatabaseError:
        return []


def folders_known(
    database: sqlite3.Connection | None, trust: int | None = None
) -> list[tuple[str, int, int]]:
    """Return job, inode and time of the folders the ledger knows, of one trust or of all.

    Reads the disk.
    """
    if database is None:
        return []
    try:
        if trust is None:
            return database.execute("SELECT job, inode, 0 FROM jobs").fetchall()
        query = "SELECT job, inode, changed FROM jobs WHERE settled = ?"
        return database.execute(query, (trust,)).fetchall()
    except sqlite3.DatabaseError:
        return []


def store(database: sqlite3.Connection | None, fresh: Iterable[Row], gone: Iterable[str]) -> None:
    """Replace rows, and forget jobs by their names; what the disk refuses is left as it was."""
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
