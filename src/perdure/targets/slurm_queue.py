"""What Slurm says of this user's jobs: one squeue for all of them, a second old at most.

Its text is read, with formats that all versions since 20.11 have; accounting is not needed. A
scheduler that does not answer is asked less and less often, and what it said last stands.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Optional

from perdure.errors import (
    EnvironmentFailed,
    MissingProgram,
    PerdureError,
    SchedulerUnreachable,
    TimeoutExpired,
)
from perdure.hosts import local

EVERY_S = 1.0
LONGEST_PAUSE_S = 30.0
ASK_S = 15.0
# Of the job whose process this may be: it would take what is started here for its own.
_KEPT = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT"})

WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})
RUNNING = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"})
_PASSING = frozenset({"CONFIGURING", "COMPLETING", "STAGE_OUT", "RESV_DEL_HOLD"})
ACTIVE = WAITING | RUNNING | _PASSING

_FORMAT = "%i|%T|%r|%B|%k"
_RANGE = re.compile(r"(?:^|(?<=,))(\d+)(?:-(\d+)(?::(\d+))?)?(?=,|$)")
_LOGIN_NODE = '`host = "..."` in `[targets.NAME]`: the login node, by what `ssh` is given'
_PROGRAMS = (
    *("sbatch: ", "srun: ", "scancel: ", "scontrol: ", "sinfo: ", "squeue: "),
    *("error: ", "fatal: "),
)
_SILENT = ("unable to contact slurm controller", "connection refused", "timed out", "zero bytes")


class _Answer:
    """When slurmctld answered this process last, on the steady clock."""

    at = float("-inf")


_answer = _Answer()


class Word(NamedTuple):
    """What Slurm says of one of its jobs: `number` is its own, `node` where its script runs."""

    number: str
    state: str
    reason: str
    node: str

    @property
    def active(self) -> bool:
        """Return whether it waits, runs, or is about to end."""
        return self.state in ACTIVE

    @property
    def waits(self) -> bool:
        """Return whether it is in the queue."""
        return self.state in WAITING


class Known(NamedTuple):
    """What is known of all jobs, by their numbers and their comments.

    `asked_at` is when that was said (unix seconds, 0: never), `problem` why the
    scheduler has not answered since, "" where it has.
    """

    words: Mapping[str, Word]
    asked_at: float
    problem: str

    def of(self, comment: str, number: Optional[str]) -> Optional[Word]:  # noqa: UP045 - Python 3.9
        """Return what is known of a job: some clusters write comments of their own."""
        found = None if number is None else self.words.get(number)
        return found or self.words.get(comment)


def ask(
    argv: Sequence[str],
    *,
    timeout_s: float = ASK_S,
    more: Optional[Mapping[str, str]] = None,  # noqa: UP045 - Python 3.9
) -> str:
    """Return what one of Slurm's commands printed; `more` are variables for it. Starts a process.

    Raises:
        SchedulerUnreachable: slurmctld does not answer.
        MissingProgram: there is no such command here.
        PerdureError: it is refused; its own words are the message.
    """
    try:
        done = local.run(argv, env={**environ(), **(more or {})}, timeout_s=timeout_s)
    except MissingProgram as error:
        raise no_slurm(argv[0]) from error
    except TimeoutExpired as error:
        raise SchedulerUnreachable(
            f"Slurm does not answer within {timeout_s:g} s", hint="try again"
        ) from error
    if done.returncode:
        raise complaint(done.complaint or f"`{argv[0]}` ended with {done.returncode}")
    _answer.at = time.monotonic()
    return done.stdout.decode("utf-8", "surrogateescape")


def require_answer(run: Callable[..., local.Completed] = local.run) -> None:
    """Return if slurmctld is there, or was just now. Starts a process, for some milliseconds.

    Every other command tries for nine seconds before it says that it is not.

    Raises:
        SchedulerUnreachable: it is not.
        MissingProgram: there is no Slurm here.
    """
    if run is local.run and time.monotonic() - _answer.at < EVERY_S:
        return
    try:
        done = run(("scontrol", "ping"), env=environ(), timeout_s=ASK_S)
    except MissingProgram as error:
        raise no_slurm("scontrol") from error
    except TimeoutExpired:
        return  # others may be luckier
    lines = [line for line in done.text.splitlines() if line.startswith("Slurmctld")]
    if lines and all(line.endswith("is DOWN") for line in lines):
        raise SchedulerUnreachable(
            f"Slurm does not answer: {lines[0].lower()}", hint="try again in a minute; sinfo"
        )


def complaint(text: str) -> PerdureError:
    """Return the error of what a command of Slurm's complained of. Pure."""
    if any(each in text.lower() for each in _SILENT):
        return SchedulerUnreachable(
            f"Slurm does not answer: {last_line(text)}", hint="try again in a minute; sinfo"
        )
    if "configuration source" in text:
        # The programs are here, and nothing that says where their cluster is.
        return EnvironmentFailed(
            f"this machine belongs to no cluster: {last_line(text)}", hint=_LOGIN_NODE
        )
    return PerdureError(last_line(text))


def last_line(text: str) -> str:
    """Return the last line of a complaint without the name of the program. Pure.

    Not the one that leads to the program's help.
    """
    lines = [line for line in text.strip().splitlines() if "--help" not in line]
    line = lines[-1] if lines else text.strip()
    for word in (
        "sbatch: ",
        "srun: ",
        "scancel: ",
        "scontrol: ",
        "sinfo: ",
        "squeue: ",
        "error: ",
        "fatal: ",
    ):
        line = line.removeprefix(word)
    return line


def no_slurm(program: str) -> MissingProgram:
    """Return the error of a machine that is no login node."""
    return MissingProgram(
        f"no program `{program}` was found: this machine has no Slurm",
        program=program,
        hint=_LOGIN_NODE,
    )


def environ() -> dict[str, str]:
    """Return this process's variables without those of a Slurm job that it may be part of."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name in _KEPT
    }
    return {**kept, "LC_ALL": "C"}


def ask_queue(argv: Sequence[str]) -> str:
    """Return what squeue printed, with the indices of arrays written out however many there are.

    Raises as `ask`.
    """
    return ask(argv, more={"SLURM_BITSTR_LEN": "0"})


def parse(text: str) -> dict[str, Word]:
    """Return jobs by their numbers, and perdure's by their comments, too: the later one of two.

    What waits of an array is one line, and a job for each of its indices.
    """
    found: dict[str, Word] = {}
    for line in text.splitlines():
        parts = line.split("|", 4)
        number, _, index = parts[0].partition("_")
        if len(parts) != 5 or not number.isdecimal():
            continue
        _, state, reason, node, comment = parts
        said = "" if reason in ("None", "(null)") else reason.strip("()")
        where = "" if node == "n/a" else node
        ours = comment.startswith("perdure:")
        for each in indices(index) if index else ("",):
            name = f"{number}_{each}" if each else number
            word = found[name] = Word(name, state, said, where)
            if ours:
                # An array's comment is that of all its elements.
                known_as = f"{comment}#{each}" if each else comment
                before = found.get(known_as)
                if before is None or int(number) > int(before.number.partition("_")[0]):
                    found[known_as] = word
    return found


def indices(text: str) -> list[str]:
    """Return the indices of an array's part as Slurm writes them, `7` or `[1-9,20-30:2%4]`. Pure.

    What cannot be read is left out.
    """
    if text.isdecimal():
        return [text]
    found: list[str] = []
    for first, last, step in _RANGE.findall(text.strip("[]").partition("%")[0]):
        found += map(str, range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def seconds_said(text: str) -> Optional[float]:  # noqa: UP045 - Python 3.9
    """Return a time as Slurm shows it, `2-03:04:05` or `4:05`; None where there is none. Pure."""
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    known = [days, *parts] if dash else parts
    if len(parts) < 2 or not all(each.isdecimal() for each in known):
        return None
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(86400 * int(days or 0) + seconds)


class Queue:
    """Asks, and keeps what was said. One for a process; any thread may use it."""

    def __init__(
        self,
        asks: Callable[[Sequence[str]], str] = ask_queue,
        pings: Callable[[], None] = require_answer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asks = asks
        self._pings = pings
        self._clock = clock
        self._guard = threading.Lock()
        self._known = Known({}, 0.0, "")
        self._next: Optional[float] = None  # noqa: UP045 - Python 3.9
        self._pause_s = EVERY_S

    def known(self, *, fresh: bool = False) -> Known:
        """Return what is known, after asking if that was not just done; `fresh`: in any case."""
        with self._guard:
            if fresh or self._next is None or self._clock() >= self._next:
                self._ask()
            return self._known

    def changed(self) -> None:
        """Have it asked anew next time: this process has just changed something."""
        with self._guard:
            if not self._known.problem:
                self._next = None

    def forget(self) -> None:
        """Know nothing, as a process that begins."""
        with self._guard:
            self._known, self._next, self._pause_s = Known({}, 0.0, ""), None, EVERY_S

    def _ask(self) -> None:
        words = ["squeue", "--noheader", "--states=all", f"--user={os.getuid()}"]
        words.append(f"--format={_FORMAT}")
        try:
            self._pings()
            text = self._asks(words)
            if "..." in text and any("..." in line.split("|")[0] for line in text.splitlines()):
                # Somebody's squeue writes no more of an array than it likes.
                text = self._asks([*words, "--array"])
        except PerdureError as error:
            self._known = self._known._replace(problem=error.message)
            self._next = self._clock() + self._pause_s
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
            return
        self._known = Known(parse(text), time.time(), "")
        self._pause_s = EVERY_S
        self._next = self._clock() + EVERY_S


QUEUE = Queue()
