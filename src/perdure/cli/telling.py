"""A job in words, and as JSON: what was asked, what ran, each attempt and what became of it."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

from perdure.cli.listing import job_json, state_cell
from perdure.cli.words import counted, duration, size
from perdure.model.job import (
    ALIVE,
    Code,
    Event,
    ImageUsed,
    JobRecord,
    JobStatus,
    Resources,
)
from perdure.runtime.result import Result

LABEL_PLACES = 13


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known about a job; `events` holds one tuple for each attempt."""

    record: JobRecord
    status: JobStatus
    events: tuple[tuple[Event, ...], ...]
    result: Result | None


def in_words(known: Known, now: float) -> list[str]:
    """Return the lines of `perdure show`; `now` in unix seconds."""
    lines = [f"{known.record.job}: {state_cell(known.status, now)}", ""]
    facts = [*about_status(known.status, now), *about_record(known.record)]
    lines += [
        f"{label + ':' if label else '':<{LABEL_PLACES}}{text}" for label, text in facts if text
    ]
    for attempt in known.events:
        lines += ["", *about_attempt(attempt)]
    if known.status.began_again:
        lines += ["", "began again: an attempt found nothing to go on from and started over"]
    return [*lines, "", about_result(known.result)]


def about_status(status: JobStatus, now: float) -> list[tuple[str, str]]:
    """Return where the job stands, as labels and texts."""
    facts = [("step", "" if status.step is None else str(status.step))]
    facts.append(("saved", "" if status.durable_step is None else f"step {status.durable_step}"))
    if status.started is not None:
        end = now if status.state in ALIVE else (status.ended or status.last_event_at or now)
        facts.append(("started", moment(status.started)))
        facts.append(("elapsed", duration(end - status.started)))
    facts.append(("process", "" if status.pid is None else str(status.pid)))
    return facts


def about_record(record: JobRecord) -> list[tuple[str, str]]:
    """Return what was asked, as labels and texts."""
    machine, limits, used = record.machine, record.limits, record.environment
    return [
        ("task", record.task),
        ("command", shlex.join(record.argv)),
        ("variables", " ".join(sorted(record.variables))),
        ("seed", str(record.seed)),
        ("submitted", moment(dt.datetime.fromisoformat(record.submitted).timestamp())),
        ("rerun of", record.rerun_of or ""),
        ("code", about_code(record.code)),
        ("lock", used.lock or "none: the machine's own Python"),
        ("environment", " ".join(filter(None, (used.variant, used.python, used.prefix)))),
        *about_image(used.image),
        ("data", f"{counted(record.data.files, 'file')}, {size(record.data.bytes)}"),
        ("machine", f"{machine.host}: {machine.os}, {machine.cpu}"),
        ("", f"{counted(machine.cores, 'core')}, {machine.memory_gib:g} GiB of memory"),
        ("GPUs", ", ".join(machine.gpus)),
        ("target", record.target),
        ("resources", about_resources(record.resources)),
        (
            "limits",
            f"{limits.grace_s:g} s to stop, {limits.retries} crashes tried again",
        ),
        ("perdure", f"{record.versions.perdure} on Python {record.versions.python}"),
        ("folder", str(record.folder)),
    ]


def about_image(image: ImageUsed | None) -> list[tuple[str, str]]:
    """Return which image ran, its contents, and as whom; nothing where there was none."""
    if image is None:
        return []
    code = ", with the code in it (--pegged)" if image.pegged else ""
    return [("image", image.tag + code), ("", f"{image.id}, as {image.user_id}:{image.group_id}")]


def about_resources(resources: Resources) -> str:
    """Return what the job may use, "" where nothing was said about it."""
    wanted = {
        "nodes": str(resources.nodes) if resources.nodes > 1 else "",
        "GPUs": str(resources.gpus or ""),
        "processors": "" if resources.cpus is None else f"{resources.cpus:g}",
        "of memory": "" if resources.memory_bytes is None else size(resources.memory_bytes),
        "of shared memory": "" if resources.shm_bytes is None else size(resources.shm_bytes),
        "at a stretch": "" if resources.time_s is None else duration(resources.time_s),
    }
    return ", ".join(f"{amount} {what}" for what, amount in wanted.items() if amount)


def about_code(code: Code) -> str:
    """Return which code ran."""
    where = "the working tree (--live)" if code.snapshot is None else f"snapshot {code.snapshot}"
    commit = f", commit {code.commit}" if code.commit else ", no commit"
    changed = " with uncommitted changes" if code.dirty and code.commit else ""
    return f"{where}: {counted(code.files, 'file')}{commit}{changed}"


def about_attempt(events: Sequence[Event]) -> list[str]:
    """Return an attempt: when it started, what interrupted it, how it ended."""
    if not events:
        return []
    first, last = events[0], events[-1]
    length = duration(last.at - first.at)
    lines = [f"attempt {first.attempt}: {moment(first.at)}, {length}"]
    lines += [f"  {text}" for event in events if (text := event_words(event))]
    saves = sum(event.name == "durable" for event in events)
    return [*lines, f"  {counted(saves, 'checkpoint')}"]


def event_words(event: Event) -> str:
    """Return one event in words, "" for those that are told in sum."""
    reason = event.text("reason")
    if event.name == "restored":
        fresh = event.fields.get("generation") is None
        return "from the beginning" if fresh else f"goes on from step {event.text('step')}"
    if event.name == "exited":
        signalled = event.number("signal")
        code = f"signal {signalled}" if signalled else f"exit code {event.text('code')}"
        return f"exited: {reason} ({code})"
    return {
        "notice": f"notice: {reason}, {float(event.text('grace_s') or 0):g} s to stop",
        "warning": f"warning: {event.text('text')}",
        "waiting": f"waited {float(event.text('seconds') or 0):g} s: {reason}",
        "ended": f"ended: {event.text('state')}" + (f" ({reason})" if reason else ""),
    }.get(event.name, "")


def about_result(result: Result | None) -> str:
    """Return the digest of what the job came to."""
    if result is None:
        return "result: none saved"
    state = "complete" if result.complete else "so far"
    rows = counted(result.rows, "metric row")
    return f"result: weights {result.weights[:16]}, {rows}, step {result.step} ({state})"


def moment(seconds: float) -> str:
    """Return a time in this machine's time zone, to the second."""
    when = dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone()
    return when.strftime("%Y-%m-%d %H:%M:%S %Z").strip()


def as_json(known: Known) -> dict[str, object]:
    """Return all of it for a program."""
    return {
        "status": job_json(known.status),
        "record": plain(known.record),
        "attempts": [[event_json(event) for event in attempt] for attempt in known.events],
        "result": plain(known.result),
    }


def event_json(event: Event) -> dict[str, object]:
    """Return one event as its line in the run folder has it."""
    return {"t": event.at, "event": event.name, "attempt": event.attempt, **event.fields}


def plain(value: object) -> object:
    """Return a value of the record as JSON knows it."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
