"""What an exit of the training means: run it again, or end the job, and how. Pure.

The codes are those of `perdure.runtime.names`; a shell that reports its own child's death as
128 + signal is read as that signal.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

from perdure.runtime import names

SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
INTERRUPTED = "INTERRUPTED"
CANCELLED = "CANCELLED"

EXIT_CANCELLED = 130
KILLS_IN_A_ROW = 10
LONGEST_WAIT_S = 60.0
_SHELL = 128
_UNASKED = (int(signal.SIGKILL), int(signal.SIGTERM))


class Exit(NamedTuple):
    """How one attempt ended, and what it had told by then."""

    code: int | None  # None when a signal ended it
    signal: int | None = None
    said: int | None = None  # the code in the child's own last word
    greeted: bool = False  # it imports perdure
    noticed: bool = False  # it had been asked to stop
    cancelled: bool = False  # ... and that for good
    fenced: bool = False  # a newer attempt had taken over
    killed: bool = False  # its grace ended
    stepped: bool = False  # it went beyond where it was restored
    advanced: bool = False  # something became durable that no attempt before it had reached
    starved: bool = False  # the kernel killed a process of its for want of memory


class Limits(NamedTuple):
    """How often to try again; the first wait is `backoff_s` seconds."""

    retries: int
    backoff_s: float


class Budget(NamedTuple):
    """Ends in a row without durable progress."""

    crashes: int = 0
    kills: int = 0


class Verdict(NamedTuple):
    """What to write and do: `state` is None to run again after `wait_s` seconds."""

    reason: str  # of the attempt: done, interrupted, fenced, killed, crashed, ...
    why: str  # of the job, for people
    state: str | None = None
    code: int = 0
    wait_s: float = 0.0
    budget: Budget = Budget()


def decide(end: Exit, budget: Budget, limits: Limits) -> Verdict:
    """Return what follows from `end`, given what was spent before it."""
    verdict = _final(end)
    if verdict is not None:
        return verdict
    spent = Budget() if end.advanced else budget
    # What needs more memory than there is will need it again.
    if _signal(end) in _UNASKED and not end.starved:
        verdict = _after_kill(end, spent, limits)
    else:
        verdict = _after_crash(end, spent, limits)
    if end.noticed and verdict.state is None:
        # It was asked to stop: to start it again here would be to refuse.
        return Verdict(verdict.reason, verdict.why, INTERRUPTED, names.EXIT_INTERRUPTED)
    return verdict


def stopped_between(cancelled: bool) -> Verdict:
    """Return what a stop asked while no training was running leads to."""
    if cancelled:
        return Verdict("cancelled", "cancelled", CANCELLED, EXIT_CANCELLED)
    return Verdict("interrupted", "interrupted", INTERRUPTED, names.EXIT_INTERRUPTED)


def given_up(spent: Budget) -> Verdict | None:
    """Return the verdict on a job whose attempts ended with their supervisors, so often by now."""
    if spent.kills < KILLS_IN_A_ROW:
        return None
    why = (
        f"its machine or pod ended {spent.kills} times in a row, without a word and without "
        "durable progress: too little memory?"
    )
    return Verdict("killed", why, FAILED, _SHELL + int(signal.SIGKILL), budget=spent)


def exit_code(end: Exit) -> int:
    """Return the end as a shell would report it: the code, or 128 + signal."""
    return end.code if end.code is not None else _SHELL + (end.signal or 0)


def _final(end: Exit) -> Verdict | None:
    """Return the verdict where no budget matters."""
    if end.fenced:
        return Verdict("fenced", "fenced", FAILED, names.EXIT_FENCED)
    told = end.said if end.said in (names.EXIT_INTERRUPTED, names.EXIT_FENCED) else end.code
    if end.cancelled and not (end.code == 0 and end.said == 0):
        return stopped_between(cancelled=True)
    if told == names.EXIT_DONE:
        return Verdict("done", "done", SUCCEEDED, names.EXIT_DONE)
    if told == names.EXIT_INTERRUPTED:
        return stopped_between(cancelled=False)
    if told == names.EXIT_FENCED:
        return Verdict("fenced", "fenced", FAILED, names.EXIT_FENCED)
    if end.killed:
        return Verdict("grace-ended", "grace-ended", INTERRUPTED, names.EXIT_INTERRUPTED)
    if end.noticed and (not end.greeted or _signal(end) == signal.SIGTERM):
        # Unaware of perdure, or not far enough yet to have its handlers.
        why = "stopped before it could save"
        return Verdict("interrupted", why, INTERRUPTED, names.EXIT_INTERRUPTED)
    return None


def _signal(end: Exit) -> int | None:
    if end.signal is None and end.code is not None and end.code > _SHELL:
        return end.code - _SHELL
    return end.signal


def _after_kill(end: Exit, spent: Budget, limits: Limits) -> Verdict:
    if end.advanced:
        return Verdict("killed", _how(end), budget=spent)
    spent = spent._replace(kills=spent.kills + 1)
    if spent.kills >= KILLS_IN_A_ROW:
        why = f"killed {spent.kills} times in a row without durable progress"
        return Verdict("killed", why, FAILED, exit_code(end), budget=spent)
    return Verdict("killed", _how(end), wait_s=_wait(spent, limits), budget=spent)


def _after_crash(end: Exit, spent: Budget, limits: Limits) -> Verdict:
    spent = spent._replace(crashes=spent.crashes + 1)
    if not end.stepped:
        why = f"crashed before its first step: {_how(end)}"
    elif spent.crashes > limits.retries:
        why = f"crashed: {_how(end)}, after {limits.retries} retries without durable progress"
    else:
        wait_s = 0.0 if end.advanced else _wait(spent, limits)
        return Verdict("crashed", _how(end), wait_s=wait_s, budget=spent)
    return Verdict("crashed", why, FAILED, exit_code(end), budget=spent)


def _wait(spent: Budget, limits: Limits) -> float:
    """Return the back-off: it doubles with every end in a row without progress."""
    before = spent.crashes + spent.kills - 1
    return min(LONGEST_WAIT_S, limits.backoff_s * 2.0 ** min(before, 30))


def _how(end: Exit) -> str:
    how = f"exit code {end.code}" if end.code is not None else f"signal {end.signal}"
    return f"out of memory ({how})" if end.starved else how
