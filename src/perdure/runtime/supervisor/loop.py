"""The attempts of a job: claim, run, decide, wait, until the job has ended."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from perdure.runtime import generation as generations
from perdure.runtime import names
from perdure.runtime.supervisor import decision, processes, silence
from perdure.runtime.supervisor.attempt import Attempt
from perdure.runtime.supervisor.decision import Budget, Limits, Verdict
from perdure.runtime.supervisor.events import Events
from perdure.runtime.supervisor.notice import Notice
from perdure.runtime.supervisor.progress import Progress
from perdure.runtime.supervisor.ways import ALONE

if TYPE_CHECKING:
    from collections.abc import Generator

    from perdure.runtime.supervisor.complaint import Complaint
    from perdure.runtime.supervisor.options import Options
    from perdure.runtime.supervisor.watch import Wait, Watch
    from perdure.runtime.supervisor.ways import Ways

EXIT_STORAGE = 5  # as in perdure.errors, which is not in the zipapp
_FENCED = Verdict("fenced", "fenced", decision.FAILED, names.EXIT_FENCED)


class Loop:
    """A supervisor's work on one run folder."""

    def __init__(
        self, options: Options, watch: Watch, complaint: Complaint, ways: Ways = ALONE
    ) -> None:
        self._ways = ways
        self._options = options
        self._watch = watch
        self._complaint = complaint
        self._budget = Budget()
        self._best = 0
        self._generation = 0

    def run(self, warning: str | None) -> int:
        """Run the job to its end and return the supervisor's exit code.

        `warning` is written as the first event where there is one.

        Raises:
            OSError: the run folder does not take a generation.
        """
        turns = self.turns(warning)
        while True:
            try:
                fds, seconds = next(turns)
            except StopIteration as ended:
                code: int = ended.value
                return code
            self._watch.wait(fds, seconds)

    def turns(self, warning: str | None, *, fresh: bool = False) -> Generator[Wait, None, int]:
        """Do the same as `run`, but yield what is to be waited for instead of waiting.

        So that one process can look after many jobs. `fresh`: there was no attempt yet. Raises as
        `run`.
        """
        generation = 1 if fresh else generations.newest(self._options.run_dir) + 1
        self._watch.drop_stale(generation)
        if generation > 1:
            warning = (yield from self._clear_orphans()) or warning
        self._budget = self._spent_before()
        generation, events = self._claim()
        if warning is not None:
            events.write("warning", {"text": warning})
        while True:
            verdict = yield from self._one(generation, events)
            if verdict.state is None:
                verdict = yield from self._pause(verdict, generation, events)
            if verdict.state is not None:
                return self._finish(verdict, events)
            before = events
            try:
                generations.check(self._options.run_dir, generation)
                generation, events = self._claim()
            except generations.Fenced:
                return self._finish(_FENCED, before)
            except OSError as error:
                why = f"cannot claim another attempt: {error}"
                self._complaint.say(why)
                lost = Verdict("crashed", why, decision.FAILED, EXIT_STORAGE)
                return self._finish(lost, before)
            before.close()

    def _spent_before(self) -> Budget:
        """Return what a scheduler's turns before this one have spent: who goes on with what dies.

        Where there is none, somebody wanted this to be tried again.
        """
        after = self._options.scheduled_after
        if after is None:
            return Budget()
        most = decision.KILLS_IN_A_ROW
        return Budget(kills=silence.in_a_row(self._options.run_dir, after, most))

    def _claim(self) -> tuple[int, Events]:
        """Return the number of a new attempt, which owns the run folder, and its events."""
        generation = self._generation = self._ways.claim(self._options.run_dir)
        return generation, Events(self._options.run_dir, generation, self._complaint)

    def _one(self, generation: int, events: Events) -> Generator[Wait, None, Verdict]:
        """Return the verdict on one attempt; its events are written."""
        stopped = self._asked(generation, events) or decision.given_up(self._budget)
        if stopped is not None:
            return stopped
        attempt = Attempt(self._options, generation, self._watch, events, self._ways)
        progress = Progress(self._best)
        end = yield from attempt.turns(progress)
        self._best = progress.best
        limits = Limits(self._options.retries, self._options.backoff_s)
        verdict = decision.decide(end, self._budget, limits)
        self._budget = verdict.budget
        events.write(
            "exited",
            {
                "code": end.code,
                "signal": end.signal,
                "reason": verdict.reason,
                "durable_step": progress.durable_step,
                "elapsed_s": time.monotonic() - attempt.started_at,
            },
        )
        return verdict

    def _pause(
        self, verdict: Verdict, generation: int, events: Events
    ) -> Generator[Wait, None, Verdict]:
        """Wait for the back-off; return what came of it: the same, or a stop."""
        events.write("waiting", {"seconds": verdict.wait_s, "reason": verdict.why})
        until = time.monotonic() + verdict.wait_s
        while True:
            stopped = self._asked(generation, events)
            if stopped is not None:
                return stopped
            left = until - time.monotonic()
            if left <= 0:
                return verdict
            yield (), left

    def _asked(self, generation: int, events: Events) -> Verdict | None:
        """Return the verdict if a stop was asked while no training runs."""
        cancelled = self._watch.cancelled(generation)
        notice = None if cancelled else self._watch.notice(generation)
        if not cancelled and notice is None:
            return None
        asked = Notice("cancel") if notice is None else notice
        stays = {"stays": True} if asked.stays else {}
        told = {"reason": asked.reason, "deadline": asked.deadline, "grace_s": 0.0}
        events.write("notice", {**told, **stays})
        return decision.stopped_between(cancelled)

    def _finish(self, verdict: Verdict, events: Events) -> int:
        if self._watch.superseded(self._generation, at_once=True):
            # However it ended: to ask for another turn now would take that of the one that counts.
            verdict = _FENCED
        events.write("ended", {"state": verdict.state, "reason": verdict.why, "code": verdict.code})
        self._ways.settle(events, verdict)
        events.close()
        if verdict.state == decision.INTERRUPTED:
            self._watch.approve()
        return verdict.code

    def _clear_orphans(self) -> Generator[Wait, None, str | None]:
        """End what an attempt before this supervisor left running; return a line about it."""
        found = left = processes.belonging(None, self._options.run_dir)
        processes.send(left, signal.SIGTERM)
        until = time.monotonic() + self._options.grace_s
        while left and time.monotonic() < until:
            yield (), max(0.0, until - time.monotonic())
            left = processes.belonging(None, self._options.run_dir)
        processes.send(left, signal.SIGKILL)
        return f"an earlier attempt had left processes: {found}" if found else None
