"""Where a job stands, as a function of what its run folder says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import NewerFormatError, PerdureError
from perdure.hosts.machine import boot_id
from perdure.jobs import folder as folders
from perdure.model.job import ENDED, TRANSITIONS, Event, JobHeading, JobStatus, State
from perdure.targets.standing import Standing

if TYPE_CHECKING:
    from perdure.jobs.witness import Word

# Clocks that are this near are taken to be the same: how long an answer takes is no exact thing.
_SAME_CLOCK_S = 2.0
NO_SCHEDULER = Standing(alive=False)
_STATES = {state.value: state for state in ENDED | {State.INTERRUPTED}}


def can_become(state: State, following: State) -> bool:
    """Return whether a job in `state` may come to stand in `following`."""
    return following in TRANSITIONS[state]


def status_of(
    record: JobHeading,
    events: Sequence[Event],
    alive: bool,
    *,
    claimed: int = 0,
    boot: str = "",
    scheduler: Standing = NO_SCHEDULER,
) -> JobStatus:
    """Return where a job stands. Pure.

    `events` are those of all its attempts in order; `alive` says whether a supervisor holds the
    run folder, `claimed` is the newest generation, `boot` which start of this machine it is ("":
    nobody can say); `scheduler` is what one says of it that runs it.
    """
    if not events and not claimed:
        return JobStatus(record, *_unbegun(alive, scheduler))
    attempt = max(claimed, events[-1].attempt if events else 0)
    current = [event for event in events if event.attempt == attempt]
    found = _scheduled(_station(current, alive, boot), scheduler)
    first = next((event for event in events if event.name == "started"), None)
    steps = _Progress.of(events)
    return JobStatus(
        record=record,
        state=found.state,
        reason=found.reason,
        attempt=attempt,
        step=steps.step,
        durable_step=steps.durable,
        started=first.at if first else None,
        ended=events[-1].at if found.state in ENDED else None,
        pid=_pid(current) if alive and found.state is not State.QUEUED else None,
        began_again=_began_again(events),
        last_event_at=events[-1].at if events else None,
        saved_at=steps.saved_at,
    )


def read_status(folder: Path) -> JobStatus:
    """Return where a job stands, from its run folder. Touches the disk; asks a job's host.

    A folder that this perdure cannot read is UNKNOWN, with the reason.
    """
    try:
        record = folders.read_record(folder)
        return status_in(folder, record, record.target)
    except PerdureError as error:
        return unreadable(folder, error)


def status_unbegun(heading: JobHeading, target: str, stands: Standing) -> JobStatus:
    """Return where a job of this machine stands of which no attempt has begun. Pure."""
    state, reason = _unbegun(stands.alive, stands)
    asked_at, problem = stands.asked_at, stands.problem
    return JobStatus(heading, state, reason, target=target, asked_at=asked_at, problem=problem)


def status_in(folder: Path, heading: JobHeading, target: str) -> JobStatus:
    """Return where the job of a known heading stands. Touches the disk; asks a job's host."""
    # Asked before its events are read: one that ends in between is then seen as ended, not LOST.
    stands = folders.standing(folder)
    found = status_of(
        heading,
        folders.read_history(folder),
        stands.alive,
        claimed=folders.claimed(folder),
        boot=boot_of(folder),
        scheduler=stands,
    )
    word = word_of(folder)
    if word is None:
        return replace(found, target=target, asked_at=stands.asked_at, problem=stands.problem)
    found = _by_this_clock(found, word.ahead_s)
    problem = "" if found.state in ENDED else word.problem or stands.problem
    return replace(found, target=target, asked_at=word.asked, problem=problem)


def _by_this_clock(status: JobStatus, ahead_s: float) -> JobStatus:
    """Return a status with its times as this machine's clock would have shown them. Pure."""
    if abs(ahead_s) < _SAME_CLOCK_S:
        return status

    def shifted(time: float | None) -> float | None:
        return None if time is None else time - ahead_s

    return replace(
        status,
        started=shifted(status.started),
        ended=shifted(status.ended),
        last_event_at=shifted(status.last_event_at),
        saved_at=shifted(status.saved_at),
    )


def boot_of(folder: Path) -> str:
    """Return which start of its machine it is for a job, "" where nobody can say."""
    if folders.is_scheduled(folder):
        return ""
    word = word_of(folder)
    return boot_id() if word is None else word.boot


def ahead_of(folder: Path) -> float:
    """Return by how many seconds the clock of a job's host is ahead of this machine's."""
    word = word_of(folder)
    return 0.0 if word is None else word.ahead_s


def word_of(folder: Path) -> Word | None:
    """Return what the host of a job elsewhere said last, None for a job of this machine."""
    if not folders.is_elsewhere(folder):
        return None
    from perdure.jobs.witness import project_above, read_witness, read_word

    witness = read_witness(folder)
    return None if witness is None else read_word(project_above(folder), witness.station)


def unreadable(folder: Path, error: PerdureError) -> JobStatus:
    """Return the status of a run folder that cannot be read."""
    reason = "newer format" if isinstance(error, NewerFormatError) else error.message
    return JobStatus(JobHeading(folder.parent, folder.name, "", (), ""), State.UNKNOWN, reason)


@dataclass(frozen=True, slots=True)
class _Station:
    state: State
    reason: str


def _unbegun(alive: bool, scheduler: Standing) -> tuple[State, str]:
    """Return state and reason of a job of which no attempt has begun."""
    if scheduler.waits is not None:
        return State.QUEUED, scheduler.waits
    if alive:
        return State.STARTING, ""
    if scheduler.ended:
        return State.LOST, f"{scheduler.ended}, before it began"
    return State.QUEUED, "not started"


def _station(current: Sequence[Event], alive: bool, boot: str) -> _Station:
    last = current[-1] if current else Event(0, 0.0, "", {})
    if last.name == "ended":
        return _Station(_STATES.get(last.text("state"), State.FAILED), last.text("reason"))
    if not alive:
        return _Station(State.LOST, _why_lost(current, boot))
    if last.name == "waiting":
        return _Station(State.STARTING, f"waits {last.text('seconds')} s: {last.text('reason')}")
    notice = next((event for event in current if event.name == "notice"), None)
    if notice is not None:
        return _Station(State.STOPPING, notice.text("reason"))
    started = any(event.name == "started" for event in current)
    return _Station(State.RUNNING if started else State.STARTING, "")


def _scheduled(found: _Station, scheduler: Standing) -> _Station:
    """Return where a job stands by its events, and by what a scheduler says."""
    if scheduler.waits is not None:
        # Whatever its last attempt came to: it is to have another one.
        return _Station(State.QUEUED, scheduler.waits)
    if found.state is State.LOST and scheduler.ended:
        return _Station(State.LOST, scheduler.ended)
    if found.state in (State.STARTING, State.RUNNING) and scheduler.ended and not found.reason:
        return _Station(found.state, f"after {scheduler.ended}")
    return found


def _why_lost(current: Sequence[Event], boot: str) -> str:
    before = next((event.text("boot") for event in current if event.name == "started"), "")
    if boot and before and boot != before:
        return "the machine restarted"
    return "its supervisor is gone"


@dataclass(frozen=True, slots=True)
class _Progress:
    step: int | None
    durable: int | None
    saved_at: float | None

    @staticmethod
    def of(events: Sequence[Event]) -> _Progress:
        """Return the newest step and the newest durable one; a restored attempt goes back."""
        step: int | None = None
        durable: int | None = None
        saved_at: float | None = None
        for event in events:
            number = event.number("step")
            if number is None:
                continue
            if event.name == "restored":
                step = number
                durable = number if event.fields.get("generation") is not None else None
            elif event.name in ("step", "durable", "exiting"):
                # A save is durable some steps after the one it holds.
                step = max(step or 0, number)
                if event.name == "durable":
                    durable, saved_at = number, event.at
        return _Progress(step, durable, saved_at)


def _pid(current: Sequence[Event]) -> int | None:
    for event in reversed(current):
        if event.name in ("exited", "ended"):
            return None
        if event.name == "started":
            return event.number("pid")
    return None


def _began_again(events: Sequence[Event]) -> bool:
    """Return whether an attempt after the first one began from nothing.

    It said so; or no attempt ever said a word, so that it cannot have gone on.
    """
    first = events[0].attempt if events else 0
    later = [event for event in events if event.attempt > first]
    if not any(event.name == "started" for event in later):
        return False
    if not any(event.name == "hello" for event in events):
        return True
    return any(e.name == "restored" and e.fields.get("generation") is None for e in later)
