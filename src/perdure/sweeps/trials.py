"""The run folder of a trial: an ordinary job's, made in a third of a millisecond.

All trials of a sweep have nearly everything in common. What is, is written once and linked; of
job.json only the lines that differ are made anew. They are not synced one by one: whoever starts
the job sees to it that all of them are, soon.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from perdure.errors import ConflictError
from perdure.jobs import folder as folders
from perdure.model.job import JobRecord
from perdure.model.sweep import SEED, arguments_of, job_name
from perdure.runtime import names
from perdure.sweeps.record import Sweep

#: What a run folder holds of a job before it runs, besides its record.
SHARED = (folders.CODE_LIST, names.PATCH_FILE, folders.ENVIRONMENT_LOCK, folders.IMAGE_LOCK)
_NO_LINKS = frozenset({errno.EMLINK, errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS})


def trial_record(
    base: JobRecord, sweep: Sweep, results: Path, trial: int, values: Mapping[str, str]
) -> JobRecord:
    """Return the record of a trial. `base` is what all of them have in common."""
    words = arguments_of(values, sweep.axes_as, seed_argument=sweep.seed_argument)
    return replace(
        base,
        results=results,
        job=job_name(sweep.name, trial),
        arguments=(*base.arguments, *words),
        seed=int(values[SEED]) if SEED in values else base.seed,
        submitted=dt.datetime.now(dt.UTC).isoformat(),
        sweep=sweep.name,
        trial=trial,
    )


class Maker:
    """Makes the run folders of a sweep's trials."""

    def __init__(
        self,
        folder: Path,
        sweep: Sweep,
        results: Path,
        *,
        mark: Callable[[JobRecord], None] | None = None,
    ) -> None:
        self.base = folders.read_record(folder)
        self._sweep = sweep
        self._results = results
        self._mark = mark
        self._there = False
        #: The jobs whose run folders were made here, and had nothing in them.
        self.fresh: set[str] = set()
        held = os.listdir(folder)  # noqa: PTH208 - names, not paths
        self._shared = [(os.fspath(folder / name), name) for name in SHARED if name in held]
        self._text = _Text(self.base)

    def make(self, trial: int, values: Mapping[str, str]) -> JobRecord:
        """Return the record of a trial whose run folder is there. Touches the disk.

        What a driver that was killed has left of one is used. Nothing is durable yet.

        Raises:
            ConflictError: there is a job of that name.
            OSError: the disk refuses; then there is no job yet.
        """
        record = trial_record(self.base, self._sweep, self._results, trial, values)
        folder = os.path.join(self._results, record.job)  # noqa: PTH118 - a thousand a second
        if not self._there:
            self._results.mkdir(parents=True, exist_ok=True)
            self._there = True
        fresh = _make_folder(folder)
        if os.path.exists(os.path.join(folder, names.JOB_FILE)):  # noqa: PTH110, PTH118
            raise ConflictError(
                f"there is a job `{record.job}` already", hint=f"perdure show {record.job}"
            )
        for name in (names.OUTPUTS, names.ATTEMPTS, names.LOGS):
            _make_folder(os.path.join(folder, name))  # noqa: PTH118
        for path, name in self._shared:
            _share(path, os.path.join(folder, name))  # noqa: PTH118
        if self._mark is not None:
            self._mark(record)
        _write(folder, self._text.of(record))
        if fresh:
            self.fresh.add(record.job)
        return record


class _Text:
    """The text of job.json, of which most lines are known before."""

    _CHANGING = ("job", "arguments", "seed", "submitted", "sweep", "trial")

    def __init__(self, base: JobRecord) -> None:
        content = {"format": names.FORMAT, **asdict(base)}
        del content["results"]
        self._lines = [
            (key, "" if key in self._CHANGING else _indented(key, value))
            for key, value in content.items()
        ]

    def of(self, record: JobRecord) -> str:
        """Return what `folders.write_record` would write."""
        lines = [text or _line(key, getattr(record, key)) for key, text in self._lines]
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(key: str, value: object) -> str:
    """Return the same as `_indented` for a list of texts or a plain value, much faster."""
    if isinstance(value, tuple):
        listed = ",\n".join(f"  {json.dumps(word)}" for word in value)
        return f' "{key}": [\n{listed}\n ]' if value else f' "{key}": []'
    return f' "{key}": {json.dumps(value)}'


def _indented(key: str, value: object) -> str:
    text = json.dumps(value, indent=1, default=dict).replace("\n", "\n ")
    return f" {json.dumps(key)}: {text}"


def _make_folder(path: str) -> bool:
    """Return whether there was none."""
    try:
        os.mkdir(path)  # noqa: PTH102 - a thousand a second
    except FileExistsError:
        return False
    return True


def _share(path: str, at: str) -> None:
    try:
        os.link(path, at)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(path, at)


def _write(folder: str, text: str) -> None:
    draft = os.path.join(folder, f".{names.JOB_FILE}-{os.getpid()}")  # noqa: PTH118 - as above
    with open(draft, "w", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
        file.write(text)
    os.replace(draft, os.path.join(folder, names.JOB_FILE))  # noqa: PTH105, PTH118
