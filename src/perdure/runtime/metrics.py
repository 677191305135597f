"""Metrics: one segment a generation, joined so that each row is seen once.

A segment begins with a header that names the segments before it and how many bytes of each count:
those a checkpoint was taken with. What an interrupted attempt logged after its last durable
checkpoint is beyond that count, and is logged again by the attempt that does those steps again.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from perdure.runtime import generation, names

Chain = List[Tuple[str, int]]


class Segment:
    """The rows of this attempt. A row that cannot be written now is kept and written later."""

    def __init__(
        self, run_dir: str, generation: int, chain: Sequence[Tuple[str, int]], rows: int
    ) -> None:
        self.name = names.numbered(generation, ".jsonl")
        self.rows = rows
        self._before: Chain = [(str(name), int(count)) for name, count in chain]
        folder = os.path.join(run_dir, names.METRICS)
        os.makedirs(folder, exist_ok=True)
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_TRUNC
        self._fd = os.open(os.path.join(folder, self.name), flags, 0o644)
        self._close = weakref.finalize(self, os.close, self._fd)
        # Its name is to be as durable as its rows: the folders it lies in are synced once.
        self._unsynced = [folder, run_dir]
        self._pending = bytearray()
        # The training logs while the writer's thread makes rows durable: one of them writes.
        self._lock = threading.Lock()
        self._bytes = 0
        self._add({"perdure": names.FORMAT, "chain": self._before})

    def log(self, row: Mapping[str, object]) -> Optional[OSError]:
        """Append a row; return why it could not be written yet, if so."""
        self.rows += 1
        return self._add(row)

    def _add(self, row: Mapping[str, object]) -> Optional[OSError]:
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._bytes += len(line)
            self._pending += line
            try:
                self._flush()
            except OSError as error:
                return error
        return None

    def _flush(self) -> None:
        while self._pending:
            del self._pending[: os.write(self._fd, self._pending)]

    def chain(self) -> Chain:
        """Return what counts now: the segments before, and this one as far as it is written."""
        return [*self._before, (self.name, self._bytes)]

    def sync(self) -> None:
        """Make all rows durable.

        Raises:
            OSError: as the system says; the rows are kept.
        """
        with self._lock:
            self._flush()
        os.fsync(self._fd)  # not under the lock: the training would wait for the disk
        while self._unsynced:
            generation.sync_folder(self._unsynced[0])
            del self._unsynced[0]

    def close(self) -> None:
        """Close the file, as happens also when nobody uses the segment any more."""
        self._close()


def read_rows(run_dir: str) -> List[Dict[str, object]]:
    """Return all rows that count, in order. Reads the run folder; a torn last line is left out."""
    folder = os.path.join(run_dir, names.METRICS)
    try:
        segments = sorted(name for name in os.listdir(folder) if name.endswith(".jsonl"))
    except FileNotFoundError:
        return []
    for newest in reversed(segments):
        lines = _lines(os.path.join(folder, newest), None)
        header = lines[0] if lines else {}
        if "perdure" not in header:
            continue
        chain: Sequence[Tuple[str, int]] = header["chain"]  # type: ignore[assignment]
        rows: List[Dict[str, object]] = []
        for name, count in chain:
            rows += _lines(os.path.join(folder, name), count)[1:]
        return rows + lines[1:]
    return []


def _lines(path: str, count: Optional[int]) -> List[Dict[str, object]]:
    """Return the whole JSON lines among the first `count` bytes of a file."""
    try:
        with open(path, "rb") as file:
            data = file.read() if count is None else file.read(count)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def plain(value: object) -> object:
    """Return a metric's value as JSON has it: a number out of a 0-d array, else itself."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value
