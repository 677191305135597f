"""The run folder as a reader sees it: the record, the attempts, their events.

A reader is tolerant: a line that was torn by a crash is left out, a field it does not know is
passed over, and only a format newer than its own is refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

from perdure.errors import NewerFormatError, PerdureError
from perdure.model.job import Event, EventValue, JobRecord
from perdure.runtime import generation, names
from perdure.targets import presence
from perdure.targets.standing import Standing

ENVIRONMENT_LOCK = "environment.lock"
IMAGE_LOCK = "image.lock"
CODE_LIST = "code.json"
# What is known of a job that runs elsewhere: see `perdure.jobs.witness`.
WITNESS_FILE = "witness.json"
# The engines of stations whose jobs a scheduler runs.
SCHEDULERS = ("slurm", "kubernetes")

_STEP_LINE = re.compile(rb'"event":\s*"step"')


def is_alive(folder: Path) -> bool:
    """Return whether a supervisor holds the run folder: asked before what it wrote is read.

    Of a job elsewhere its host is asked, which brings what it wrote; where that does not answer,
    what it said last counts. A job is not asked after all the time.
    """
    return standing(folder).alive


def standing(folder: Path) -> Standing:
    """Return how a job stands by its supervisor's lock, its host or its scheduler."""
    if is_elsewhere(folder):
        from perdure.jobs.mirror import look
        from perdure.jobs.witness import read_witness

        witness = read_witness(folder)
        if witness is not None:
            return look(folder, witness).standing
    return presence.standing(folder)


def is_scheduled(folder: Path) -> bool:
    """Return whether the job of a run folder is in a scheduler's hands: on any of its machines."""
    if is_elsewhere(folder):
        from perdure.jobs.witness import read_witness

        witness = read_witness(folder)
        return witness is not None and witness.station.engine in SCHEDULERS
    return os.path.exists(folder / names.TICKET_FILE)  # noqa: PTH110 - as above


def is_elsewhere(folder: Path) -> bool:
    """Return whether the job of a run folder is on another host."""
    return os.path.exists(folder / WITNESS_FILE)  # noqa: PTH110 - asked of each that is listed


def is_job(folder: Path) -> bool:
    """Return whether the folder holds a job: its record is written last, so it is whole."""
    return (folder / names.JOB_FILE).is_file()


def write_record(record: JobRecord) -> None:
    """Write job.json, whole or not at all. Touches the disk."""
    # Without the headings' folder: a run folder may be moved.
    content = {"format": names.FORMAT, **asdict(record)}
    del content["results"]
    draft = record.folder / f".{names.JOB_FILE}-{os.getpid()}"
    with draft.open("w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(content, file, indent=1, default=dict)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(record.folder / names.JOB_FILE)


def read_record(folder: Path) -> JobRecord:
    """Return what was asked, from job.json. Touches the disk.

    Raises:
        NewerFormatError: a newer perdure wrote it.
        PerdureError: there is none, or it cannot be read.
    """
    path = folder / names.JOB_FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PerdureError(
            f"`{folder.name}` is not a run folder: `{path}`: {(error.strerror or '').lower()}",
            hint="perdure ps -a",
        ) from error
    return _decode(raw, folder)


def target_of(folder: Path) -> str:
    """Return the name of the target that a job is on, without decoding all of its record.

    A record that cannot be read says `local`: what stops a job must not depend on it.
    """
    try:
        found = json.loads((folder / names.JOB_FILE).read_bytes()).get("target")
    except (OSError, ValueError, AttributeError):
        found = None
    return found if isinstance(found, str) else "local"


def attempts(folder: Path) -> list[int]:
    """Return the numbers of the attempts that wrote events, in order."""
    return [number for number, _ in _numbered(folder / names.ATTEMPTS, ".jsonl")]


def claimed(folder: Path) -> int:
    """Return the newest generation, 0 before the first attempt: it may have no events yet."""
    try:
        return generation.newest(folder)
    except OSError:
        return 0


def log_path(folder: Path, attempt: int) -> Path:
    """Return the file of an attempt's output."""
    return folder / names.LOGS / names.numbered(attempt, ".log")


def events_path(folder: Path, attempt: int) -> Path:
    """Return the file of an attempt's events."""
    return folder / names.ATTEMPTS / names.numbered(attempt, ".jsonl")


def read_events(folder: Path, attempt: int, *, last_step_only: bool = False) -> list[Event]:
    """Return an attempt's events in order, [] where it has none.

    With `last_step_only`, of the steps (one a second, for days) only the last one.
    """
    try:
        lines = events_path(folder, attempt).read_bytes().split(b"\n")
    except OSError:
        return []
    if last_step_only:
        lines = _thinned(lines)
    return [event for line in lines if (event := read_event(line, attempt)) is not None]


def read_history(folder: Path) -> list[Event]:
    """Return the events of all attempts in order; of each attempt's steps only the last one."""
    return [
        event
        for attempt in attempts(folder)
        for event in read_events(folder, attempt, last_step_only=True)
    ]


def read_event(line: bytes, attempt: int) -> Event | None:
    """Return the event a line holds, None where it holds none: torn, or not of this format."""
    try:
        fields = json.loads(line)
        at, name = fields.pop("t"), fields.pop("event")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(at, (int, float)) or not isinstance(name, str):
        return None
    return Event(attempt, float(at), name, cast(Mapping[str, EventValue], fields))


def _thinned(lines: list[bytes]) -> list[bytes]:
    # A torn line is no step: the one before it stays.
    steps = {i for i, line in enumerate(lines) if _STEP_LINE.search(line) and line.endswith(b"}")}
    last = max(steps, default=-1)
    return [line for i, line in enumerate(lines) if i == last or i not in steps]


def _numbered(folder: Path, suffix: str) -> list[tuple[int, str]]:
    try:
        found = os.listdir(folder)  # noqa: PTH208 - names, not paths
    except OSError:
        return []
    stems = ((name.removesuffix(suffix), name) for name in found if name.endswith(suffix))
    return sorted((int(stem), name) for stem, name in stems if stem.isdecimal())


def _decode(raw: bytes, folder: Path) -> JobRecord:
    import msgspec

    try:
        content = msgspec.json.decode(raw, type=dict[str, object])
        found = content.pop("format", None)
        if isinstance(found, int) and found > names.FORMAT:
            raise NewerFormatError(
                f"`{folder.name}` was written by a newer perdure (format {found}, not "
                f"{names.FORMAT})",
                hint="uv tool upgrade perdure",
            )
        # Where it lies counts, not where it lay: a run folder may be moved and renamed.
        content |= {"results": folder.parent, "job": folder.name}
        return msgspec.convert(content, JobRecord)
    except msgspec.MsgspecError as error:
        raise PerdureError(
            f"`{folder / names.JOB_FILE}` cannot be read: {error}",
            hint=f"`perdure kill {folder.name}` ends it, if it still runs",
        ) from error
