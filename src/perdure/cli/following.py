"""Follow a job until it ends, and hand Ctrl-C on to it: the first interrupts, the second kills."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from perdure.cli.listing import NOTHING_NEW
from perdure.cli.render import Console
from perdure.cli.signals import Signals
from perdure.cli.words import duration
from perdure.errors import ConflictError, HostUnreachable, PerdureError, TimeoutExpired
from perdure.jobs.control import interrupt, kill
from perdure.jobs.folder import target_of
from perdure.jobs.follow import follow
from perdure.jobs.lifecycle import ahead_of
from perdure.jobs.mirror import trouble
from perdure.model.job import Event, LogText

KILL_S = 30.0
EXIT_KILLED = 130


class Connection:
    """Says once that a job's host does not answer, and once that it does again."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._lost = False

    def look(self) -> None:
        """Say what has changed since the last look."""
        if trouble(self._folder):
            if not self._lost:
                target = target_of(self._folder)
                self._console.say(f"`{target}` does not answer; the job goes on there")
            self._lost = True
        elif self._lost:
            self._lost = False
            self._console.say(f"`{target_of(self._folder)}` answers again")


class Follower:
    """Shows one job as it runs; knows of it what its events told.

    Attempts up to `after` were shown before, and are passed over.
    """

    def __init__(
        self,
        folder: Path,
        console: Console,
        *,
        after: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.job = folder.name
        self.exit_code: int | None = None
        self._console = console
        self._after = after
        self._clock = clock
        self._signals = Signals()
        self._answered = 0
        self._step: int | None = None
        self._saved: tuple[int, float] | None = None
        self._attempt = 0
        self._state = "STARTING"
        self._since = clock()
        self._connection = Connection(folder, console)

    def run(self) -> int:
        """Return the job's own exit code: 75 where it was interrupted, 130 where it was killed.

        Raises:
            PerdureError: its supervisor is gone, and nobody knows how the job ended.
            TimeoutExpired: it was killed, and something of it may still be there.
        """
        with self._signals.counted():
            for item in follow(self.folder, stop=self.tick):
                if item.attempt <= self._after:
                    continue
                if isinstance(item, LogText):
                    self._console.write(item.text)
                else:
                    self.tell(item)
        if self.exit_code is None:
            raise PerdureError(
                f"job `{self.job}` is lost: its supervisor is gone", hint="perdure recover"
            )
        return self.exit_code

    def tick(self) -> bool:
        """Answer what was asked meanwhile, draw the line anew; return False: nobody stops this."""
        if self._answered < self._signals.count:
            self._answered += 1
            self.answer()
        self._connection.look()
        self._console.status(self.line())
        return False

    def answer(self) -> None:
        """Interrupt the job for the first signal, kill it for the second."""
        if self._answered == 1:
            self._console.say(
                f"interrupting `{self.job}`: it saves and stops; Ctrl-C again kills it"
            )
            try:
                interrupt(self.folder, reason="ctrl-c")
            except ConflictError:
                return  # it has ended just now
            except HostUnreachable as error:
                raise HostUnreachable(
                    f"{error.message}; `{self.job}` goes on there, and is not asked to stop",
                    hint=f"when it answers: perdure interrupt {self.job}",
                ) from error
        elif self._answered == 2:
            self._console.say(f"killing `{self.job}`: what it did since its last save is lost")
            if kill(self.folder, timeout_s=KILL_S) == "unconfirmed":
                raise TimeoutExpired(
                    f"job `{self.job}` did not end within {KILL_S:g} s of being killed",
                    hint=f"perdure kill {self.job}",
                )

    def line(self) -> str:
        """Return the line at the foot: where the job stands."""
        now = self._clock()
        parts = [self.job, self._state.lower()]
        if self._attempt > 1:
            parts.append(f"attempt {self._attempt}")
        if self._step is not None:
            parts.append(f"step {self._step}")
        if self._saved is not None:
            parts.append(f"saved at {self._saved[0]}, {duration(now - self._saved[1])} ago")
        return "  ".join([*parts, duration(now - self._since)])

    def tell(self, event: Event) -> None:
        """Take note of an event, and say what a person wants to know of it."""
        self.note(event)
        told = told_event(event)
        if told:
            self._console.say(f"{self.job}: {told}")
        elif event.name == "durable":
            self._console.detail(f"{self.job}: saved at step {event.number('step')}")

    def note(self, event: Event) -> None:
        """Remember what the line at the foot and the exit code need."""
        self._attempt = event.attempt
        step = event.number("step")
        if event.name in ("step", "restored") and step is not None:
            self._step = step
        elif event.name == "durable" and step is not None:
            self._saved = (step, event.at - ahead_of(self.folder))
            # Steps are told once a second, saves at once.
            self._step = max(step, self._step or 0)
        self._state = NEXT_STATE.get(event.name, self._state)
        if event.name == "ended":
            self._state = event.text("state")
            self.exit_code = event.number("code")


NEXT_STATE = {
    "started": "STARTING",
    "hello": "RUNNING",
    "step": "RUNNING",
    "notice": "STOPPING",
    "waiting": "waiting",
}


def told_event(event: Event) -> str:
    """Return what a follower is told of an event, "" for nothing."""
    tell = TELLERS.get(event.name)
    return tell(event) if tell else ""


def told_restored(event: Event) -> str:
    """Return where an attempt goes on; the first one begins without words."""
    step = event.number("step") or 0
    if step:
        return f"attempt {event.attempt} goes on from step {step}"
    return f"attempt {event.attempt} begins again: nothing was saved" if event.attempt > 1 else ""


def told_notice(event: Event) -> str:
    """Return why the job has to stop, and how long it may take."""
    grace_s = float(event.text("grace_s") or 0)
    return f"notice: {event.text('reason')}; {grace_s:g} s to save and stop"


def told_exited(event: Event) -> str:
    """Return how an attempt ended, where it was not simply done."""
    if event.text("reason") == "done":
        return ""
    signalled = event.number("signal")
    how = f"signal {signalled}" if signalled else f"exit code {event.text('code')}"
    saved = event.number("durable_step")
    nothing = "nothing saved" if event.attempt == 1 else "nothing new saved"
    safe = nothing if saved is None else f"saved at step {saved}"
    return f"attempt {event.attempt} stopped: {event.text('reason')} ({how}), {safe}"


def told_waiting(event: Event) -> str:
    """Return how long it is until the next attempt."""
    return f"tries again in {float(event.text('seconds') or 0):g} s: {event.text('reason')}"


def told_ended(event: Event) -> str:
    """Return how the job ended."""
    reason = event.text("reason")
    return event.text("state") + (f" ({reason})" if reason and reason not in NOTHING_NEW else "")


TELLERS: dict[str, Callable[[Event], str]] = {
    "restored": told_restored,
    "notice": told_notice,
    "warning": lambda event: f"warning: {event.text('text')}",
    "exited": told_exited,
    "waiting": told_waiting,
    "ended": told_ended,
}


def after_words(job: str, exit_code: int) -> str:
    """Return what can be done next with a job that ended with this code, "" for nothing."""
    return {
        75: f"go on: perdure resume {job}",
        EXIT_KILLED: f"go on from its last save: perdure resume {job}",
    }.get(exit_code, "")
