"""What is known of a tree on another host, on disk: what both sides had last, and what was sent.

A digest is written down before it is sent, so that after any crash what is there and is ours is
known to be ours. The rest may lag behind: an older base costs a comparison, never a byte.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import StorageError
from perdure.sync.far.tree import Entry, Memory, Seen
from perdure.sync.plan import ABSENT

_FORMAT = 1
_TABLES = """
create table if not exists base (path blob primary key, kind text, digest text, mode int)
    without rowid;
create table if not exists sent (path blob, digest text, primary key (path, digest)) without rowid;
create table if not exists seen (path blob primary key, modified int, changed int, size int,
    inode int, kind text, digest text, mode int) without rowid;
create table if not exists kept (at real, path blob, place blob, here int);
"""
_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """What was displaced because both sides had changed it: when (unix seconds), and where it is.

    `here`: on this machine, else on the other; `place` is relative to the project either way.
    """

    at: float
    path: str
    place: str
    here: bool


class State:
    """The state of one project and one target, in one file. `base` and `memory` are read freely."""

    def __init__(self, file: Path) -> None:
        self.base: dict[str, Entry] = {}
        self.memory: Memory = {}
        self._sent: dict[str, list[str]] = {}
        self._dirty: set[str] = set()
        with _storing(file):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = _open(file)
            self._load()

    def close(self) -> None:
        """Keep what is new, and close the file."""
        self.flush()
        self._database.close()

    def ours(self, path: str) -> tuple[str, ...]:
        """Return the digests that were sent for a path and of which no word came back."""
        return tuple(self._sent.get(path, ()))

    def unanswered(self) -> list[str]:
        """Return the paths of which something was sent and no word came back."""
        return list(self._sent)

    def expected(self, path: str) -> list[str]:
        """Return the digests of what may be replaced there without being kept."""
        base = self.base.get(path)
        sent = [digest for digest in self._sent.get(path, ()) if digest != ABSENT]
        return sent if base is None else [base.digest, *sent]

    def sending(self, digests: Iterable[tuple[str, str]]) -> None:
        """Write down what is about to be sent: paths and digests, `ABSENT` for a deletion."""
        rows = []
        for path, digest in digests:
            known = self._sent.setdefault(path, [])
            if digest not in known:
                rows.append((os.fsencode(path), digest))
            if known[-1:] != [digest]:
                known.append(digest)
        if rows:
            with _storing_state(), self._database:
                self._database.executemany("insert or ignore into sent values (?, ?)", rows)

    def agreed(self, path: str, entry: Entry | None, digest: str | None = None) -> None:
        """Take what both sides have for the base. `digest`: what was sent, and what came before."""
        if entry is None:
            self.base.pop(path, None)
        else:
            self.base[path] = entry
        known = self._sent.get(path)
        if known is not None:
            del known[: known.index(digest) + 1 if digest in known else len(known)]
            if not known:
                del self._sent[path]
        self._dirty.add(path)

    def forget_all(self) -> None:
        """Know nothing of the other side any more."""
        self._dirty.update(self.base, self._sent)
        self.base.clear()
        self._sent.clear()

    def flush(self) -> None:
        """Write down what was agreed on since the last time."""
        if not self._dirty:
            return
        dirty = [(path, os.fsencode(path)) for path in self._dirty]
        rows = [(raw, *self.base[path]) for path, raw in dirty if path in self.base]
        gone = [(raw,) for path, raw in dirty if path not in self.base]
        sent = [(raw, digest) for path, raw in dirty for digest in self._sent.get(path, ())]
        changed = {path: seen for path, _ in dirty if (seen := self.memory.get(path)) is not None}
        with _storing_state(), self._database as database:
            database.executemany("insert or replace into base values (?, ?, ?, ?)", rows)
            database.executemany("delete from base where path = ?", gone)
            database.executemany("delete from sent where path = ?", [(raw,) for _, raw in dirty])
            database.executemany("insert or ignore into sent values (?, ?)", sent)
            database.executemany("delete from seen where path = ?", gone)
            database.executemany(
                "insert or replace into seen values (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (os.fsencode(path), *seen.stamp, *seen.entry)
                    for path, seen in changed.items()
                    if seen.settled and seen.entry.digest
                ],
            )
        self._dirty.clear()

    def keep(self, path: str, place: str, *, here: bool) -> Kept:
        """Return a conflict's record, written down."""
        kept = Kept(time.time(), path, place, here)
        row = (kept.at, os.fsencode(path), os.fsencode(place), int(here))
        with _storing_state(), self._database:
            self._database.execute("insert into kept values (?, ?, ?, ?)", row)
        return kept

    def conflicts(self) -> list[Kept]:
        """Return the conflicts, the newest first."""
        rows = self._database.execute(
            "select at, path, place, here from kept order by at desc limit ?", (_MOST_KEPT,)
        )
        return [
            Kept(at, os.fsdecode(path), os.fsdecode(place), bool(here))
            for at, path, place, here in rows
        ]

    def _load(self) -> None:
        for path, *entry in self._database.execute("select * from base"):
            self.base[os.fsdecode(path)] = Entry(*entry)
        for path, digest in self._database.execute("select * from sent"):
            self._sent.setdefault(os.fsdecode(path), []).append(digest)
        for path, modified, changed, size, inode, *entry in self._database.execute(
            "select * from seen"
        ):
            stamp = (modified, changed, size, inode)
            self.memory[os.fsdecode(path)] = Seen(stamp, Entry(*entry), True)


def conflicts_in(file: Path) -> list[Kept]:
    """Return the conflicts that a state file records, the newest first; none where none is."""
    if not file.is_file():
        return []
    state = State(file)
    try:
        return state.conflicts()
    finally:
        state.close()


def _open(file: Path) -> sqlite3.Connection:
    """Return the database; one that is damaged or of another format is begun anew."""
    for attempt in range(2):
        database = sqlite3.connect(file, timeout=10.0, check_same_thread=False)
        try:
            database.execute("pragma journal_mode = wal")
            # A killed process loses nothing; a machine without power only what is newest.
            database.execute("pragma synchronous = normal")
            (version,) = database.execute("pragma user_version").fetchone()
            (tables,) = database.execute("select count(*) from sqlite_master").fetchone()
            if version == _FORMAT or not (version or tables):
                database.executescript(
                    f"begin immediate; {_TABLES} pragma user_version = {_FORMAT}; commit;"
                )
                file.chmod(0o600)
                return database
        except sqlite3.DatabaseError:
            if attempt:
                raise
        database.close()
        for suffix in ("", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    raise sqlite3.DatabaseError("cannot be made anew")


@contextlib.contextmanager
def _storing(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"cannot keep the state of the sync in `{file}`: {error}") from error


@contextlib.contextmanager
def _storing_state() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"cannot keep the state of the sync: {error}") from error
