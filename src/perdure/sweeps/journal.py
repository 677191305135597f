"""Optuna's journal as the one driver of a sweep keeps it: the same file, in a tenth of the time.

Optuna's own backend is for many processes: it opens the file for each question, and locks and syncs
it for each line, of which a trial has five. Here nobody else writes, which the driver's lock sees
to: what was written is known, and is made durable once a trial, before its run folder is. The file
is what Optuna's own programs read.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class Journal(BaseJournalBackend):  # type: ignore[misc]  # mypy sees no Optuna
    """The journal of one process that writes. Touches the disk."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._one = threading.Lock()
        self._wanted = self._syncing = False
        self._refused: list[OSError] = []
        weakref.finalize(self, os.close, self._fd)
        self._size = self._lines = 0
        # What Optuna may still ask for: at first all that is there.
        self._fresh: list[dict[str, Any]] = []
        self._take_in(file.read_bytes())

    def _take_in(self, data: bytes) -> None:
        """Take in what is there, and cut off the line that a crash has torn."""
        for line in data.splitlines(keepends=True):
            try:
                content = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                content = None
            if not isinstance(content, dict):
                os.ftruncate(self._fd, self._size)
                break
            self._fresh.append(content)
            self._size += len(line)
            self._lines += 1

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the entries from that number on. Touches no disk."""
        first = self._lines - len(self._fresh)
        if log_number_from < first:
            raise ValueError(f"entry {log_number_from} was read before")
        # What it has, it asks for no more; what it stumbled over before the end, once again.
        self._fresh = self._fresh[log_number_from - first :]
        return tuple(self._fresh)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, which are durable after `sync`.

        Raises:
            OSError: the disk refuses; then nothing of them is there.
        """
        lines = [json.dumps(each, separators=(",", ":")) for each in logs]
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                raise OSError(28, os.strerror(28))
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        self._lines += len(lines)
        # As whoever reads the file gets them: without Python's own kinds of numbers and lists.
        self._fresh += [json.loads(line) for line in lines]

    def sync(self) -> None:
        """Have what was appended made durable, at once and aside.

        Raises:
            OSError: the disk refused it the last time.
        """
        if self._refused:
            raise self._refused.pop()
        with self._one:
            self._wanted = True
            if not self._syncing:
                # One that ends: a thread that waits for more would keep its process from ending.
                threading.Thread(target=self._sync).start()
                self._syncing = True

    def _sync(self) -> None:
        while self._is_wanted():
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._refused.append(error)

    def _is_wanted(self) -> bool:
        with self._one:
            self._syncing, self._wanted = self._wanted, False
            return self._syncing
