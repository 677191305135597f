"""A tree brought up to date once: connect, compare, send, wait until all is there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import ConflictError, StorageError, TimeoutExpired
from perdure.model.report import Report, silent
from perdure.sync.channel import CONNECT_S, Channel
from perdure.sync.exchange import Exchange, new_mark
from perdure.sync.plan import Action, Refusal
from perdure.sync.rules import DEFAULT, Rules, Skipped
from perdure.sync.state import Kept, State
from perdure.sync.trees import Trees

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a tree goes: what opens a pipe to a Python there (see `boot_words`), and the root.

    A root that begins with `~/` lies below the home folder there.
    """

    argv: tuple[str, ...]
    root: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What was done: numbers of files, what was kept aside, what stays here and why."""

    sent: int
    deleted: int
    fetched: int
    removed: int
    kept: tuple[Kept, ...]
    skipped: tuple[Skipped, ...]
    seconds: float
    warning: str | None = None


def synchronise(
    local: Path,
    destination: Destination,
    *,
    state: Path,
    rules: Rules = DEFAULT,
    report: Report = silent,
    timeout_s: float,
) -> Summary:
    """Return what was done once the code there is the code here. `state` is a folder of its own.

    Raises:
        ConflictError: so many files would be deleted that it looks like an accident.
        StorageError: files could not be written there, or here.
        HostUnreachable: the connection cannot be opened, or was lost.
        NoPython: there is no Python there.
        TimeoutExpired: it was not done in time.
    """
    began = time.monotonic()
    with _prepared(local, destination, state, rules, report) as exchange:
        _wait(exchange, began + timeout_s, report)
        _refuse(exchange, destination)
        return summary(exchange.trees, time.monotonic() - began)


def preview(
    local: Path,
    destination: Destination,
    *,
    state: Path,
    rules: Rules = DEFAULT,
    timeout_s: float,
) -> tuple[list[Action], tuple[Skipped, ...]]:
    """Return what `synchronise` would do and what it would skip, and do nothing.

    Raises:
        As `synchronise`.
    """
    deadline = time.monotonic() + timeout_s
    with _prepared(local, destination, state, rules, silent) as exchange:
        while not exchange.is_ready:
            _receive(exchange, deadline)
        trees = exchange.trees
        return exchange.planned(), trees.scanner.skipped(trees.local)


def summary(trees: Trees, seconds: float) -> Summary:
    """Return what was done."""
    tally = trees.tally
    return Summary(
        sent=tally.sent,
        deleted=tally.deleted,
        fetched=tally.fetched,
        removed=tally.removed,
        kept=tuple(tally.kept),
        skipped=trees.scanner.skipped(trees.local),
        seconds=seconds,
        warning=trees.scanner.warning,
    )


@contextlib.contextmanager
def alone(state: Path, *, timeout_s: float) -> Iterator[None]:
    """Keep every other process of this machine from synchronising the same pair.

    Raises:
        ConflictError: another one does, and did not end in time.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConflictError(
                        "this project is being synchronised already", hint="perdure sync status"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _prepared(
    local: Path, destination: Destination, state: Path, rules: Rules, report: Report
) -> Iterator[Exchange]:
    with alone(state, timeout_s=CONNECT_S):
        mark = new_mark()
        channel = Channel(destination.argv)
        try:
            trees = Trees(local, State(state / "state.db"), rules, mark, report)
            exchange = Exchange(trees)
            try:
                exchange.begin(channel, destination.root, mark)
                yield exchange
            finally:
                exchange.end()
                trees.close()
        finally:
            channel.close()


def _wait(exchange: Exchange, deadline: float, report: Report) -> None:
    while not exchange.is_idle:
        _receive(exchange, deadline)
        exchange.go_on()
        tally = exchange.trees.tally
        total = tally.sent + exchange.left
        if exchange.left:
            report("sending code", done=tally.sent, total=total)


def _receive(exchange: Exchange, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutExpired("the code was not brought up to date in time", hint="perdure sync")
    assert exchange.channel is not None
    frame = exchange.channel.receive(min(left, _POLL_S))
    while frame is not None:
        exchange.handle(*frame)
        frame = exchange.channel.receive(0)


def _refuse(exchange: Exchange, destination: Destination) -> None:
    """Raise what keeps both sides from being alike."""
    trees = exchange.trees
    if exchange.refused is not None:
        raise refusal(exchange.refused)
    if trees.problems:
        path, why = next(iter(sorted(trees.problems.items())))
        more = f" (and {len(trees.problems) - 1} more)" if len(trees.problems) > 1 else ""
        raise StorageError(f"`{path}` {why}{more}; `{destination.root}` is not up to date")


def refusal(found: Refusal) -> ConflictError:
    """Return the error for deletions that look like an accident."""
    where = "there" if found.there else "here"
    return ConflictError(
        f"{len(found.paths)} of {found.of} files would be deleted {where}, such as "
        f"`{found.paths[0]}`",
        hint="if that is meant: perdure sync --delete",
    )
