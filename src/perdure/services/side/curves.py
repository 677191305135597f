"""The metrics of all jobs as TensorBoard reads them: event files in a folder for each job.

Runs in TensorBoard's own environment and uses its writer. The folder is made anew at each start:
the run folders are the truth.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perdure.services.side.rows import Follower, Fresh

_METRICS = "metrics"
# Told beside the values, not as values.
_ABOUT = frozenset({"step", "epoch"})
EVERY_S = 1.0


class Curves:
    """The event files of a folder of jobs, kept up with what the jobs log."""

    def __init__(self, results: Path, cache: Path) -> None:
        self._results = results
        self._cache = cache
        self._jobs: dict[str, _Curve] = {}
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)

    def keep_up(self) -> None:
        """Write what has come since the last time, and forget jobs that are gone."""
        there = {path.parent.name: path for path in self._results.glob(f"*/{_METRICS}")}
        for name in self._jobs.keys() - there.keys():
            del self._jobs[name]
            shutil.rmtree(self._cache / name, ignore_errors=True)
        for name, folder in there.items():
            if name not in self._jobs:
                self._jobs[name] = _Curve(folder, self._cache / name)
            self._jobs[name].keep_up()

    def keep_on(self, stop: threading.Event) -> None:
        """Keep up until `stop`; a folder that cannot be read now is read later."""
        while not stop.wait(EVERY_S):
            with contextlib.suppress(OSError, ValueError):
                self.keep_up()


class _Curve:
    """The event file of one job. It is open only while it is written: there may be many."""

    def __init__(self, metrics: Path, folder: Path) -> None:
        self._follower = Follower(metrics)
        self._file = folder / f"events.out.tfevents.{time.time():.0f}.perdure"

    def keep_up(self) -> None:
        while (fresh := self._follower.fresh()).rows or fresh.again:
            self._write(fresh)

    def _write(self, fresh: Fresh) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-not-found]
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-not-found]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-not-found]

        begun = self._file.exists()
        self._file.parent.mkdir(exist_ok=True)
        with self._file.open("ab") as file:
            records = RecordWriter(file)
            if not begun:
                records.write(Event(file_version="brain.Event:2").SerializeToString())
            if fresh.again or not begun:
                # All before it from this step on is thrown away by whoever reads on.
                session = SessionLog(status=SessionLog.START)
                records.write(Event(step=0, session_log=session).SerializeToString())
            for moment, row in fresh.rows:
                values = [Summary.Value(tag=tag, simple_value=v) for tag, v in scalars(row)]
                event = Event(wall_time=moment, step=step_of(row), summary=Summary(value=values))
                records.write(event.SerializeToString())


def step_of(row: dict[str, Any]) -> int:
    """Return the step of a row. Pure."""
    step = row.get("step", 0)
    return step if isinstance(step, int) else 0


def scalars(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row by their names. Pure."""
    for name, value in row.items():
        if name not in _ABOUT and isinstance(value, (int, float)):
            yield name, float(value)
