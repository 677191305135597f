"""What drives one sweep: starts trials while there is room, and sees them end.

It holds nothing that is not on the disk: what was asked stands in the sweep's folder, what became
of it in run folders. One that is killed is followed by another, which goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

from perdure.errors import ConflictError, PerdureError
from perdure.jobs import folder as folders
from perdure.jobs.ledger import statuses
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import ALIVE, ENDED, JobRecord, JobStatus, State
from perdure.model.sweep import trial_number
from perdure.sweeps import ended
from perdure.sweeps.brought import catch_up
from perdure.sweeps.holding import BY_SYSTEM, STOPPED, Holding, version
from perdure.sweeps.line import Line
from perdure.sweeps.others import Others
from perdure.sweeps.ownership import trial_told
from perdure.sweeps.pool import Pool, Rest
from perdure.sweeps.proposals import Proposals, proposals_of
from perdure.sweeps.ready import Ready
from perdure.sweeps.recall import Recall
from perdure.sweeps.record import edit, editing, read_sweep, wanting
from perdure.sweeps.room import Room
from perdure.sweeps.sayings import Sayings
from perdure.sweeps.trials import Maker
from perdure.sweeps.unbegun import MOST, Unbegun, told
from perdure.sweeps.verdicts import Verdicts
from perdure.targets.protocol import Notice

LOOK_S = 0.2
# No more often than this, however many trials end meanwhile.
_LOOK_AGAIN_S = 0.05
# How often what others supervise, or Optuna wants pruned, is looked at.
_SELDOM_S = 1.0
# The ledger is brought up to date so often, so that listing ten thousand jobs does not do it.
_LEDGER_S = 10.0
# No trial's number: what waits is the pool, where a job could not be begun.
_POOL = 0
# Of those that run, so many are asked whether they began.
_ASKED = 20


class Driver:
    """One sweep, from where it stands to its end."""

    def __init__(
        self, workspace: Workspace, folder: Path, pool: Pool, maker: Maker, said: Holding
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._pool = pool
        self._maker = maker
        self._says = Sayings(said)
        self._ready = Ready(maker, folder.name, workspace.project.results)
        self._room = Room(workspace.project.results)
        self._index = ended.Index(folder)
        # Run folders may have been deleted since: their trials are not run again for that.
        self._line = Line(ended.read_index(folder))
        self._running: dict[int, JobRecord] = {}
        self._others = Others(folder.name, maker.base.target, self._ready.folder)
        self._verdicts = Verdicts()
        self._unbegun = Unbegun()
        self._recall = Recall(workspace, folder.name, pool)
        self._stopping = ""
        self._seldom = self._ledger = self._look_again = 0.0
        self._complaints = ended.Complaints()
        self._seen = ""
        self._asked: tuple[object, object] | None = None
        self._read()

    def run(self) -> None:
        """Drive the sweep until nothing of it is left to do, or it is to stop."""
        self._find()
        while True:
            self._heed()
            if not self._stopping:
                self._fill()
            if not self._busy() and self._is_whole() and self._may_end():
                return
            for rest in self._pool.turn(LOOK_S):
                self._note(rest)
            self._now_and_then()

    def close(self) -> None:
        """Close what is open. Run folders that are made by now are found by the next driver."""
        self._ready.close()
        self._index.close()

    def _busy(self) -> bool:
        if self._stopping == STOPPED:
            return bool(self._running or self._others.running) or not self._recall.done
        if self._stopping:
            return bool(self._running)
        known = self._running or self._verdicts.waiting or self._others.running
        return bool(known) or self._line.any()

    def _is_whole(self) -> bool:
        """Return whether no trial is left alone that is to run; else the sweep is stopped."""
        if self._stopping or not self._others.why:
            return True
        self._end_early(self._others.why)
        return False

    def _may_end(self) -> bool:
        """Return whether nobody wants more; from then on nobody takes this driver for alive."""
        with editing(self._folder):
            if self._changed() and self._stopping != BY_SYSTEM:
                self._look_again = 0.0
                return False
            over = "" if self._stopping else self._seen
            self._says.end(self._stopping, over)
        return True

    # -- what is wanted -----------------------------------------------------------------------

    def _changed(self) -> bool:
        return version(self._folder) != self._seen

    def _read(self) -> None:
        self._seen = version(self._folder)
        self.sweep = read_sweep(self._folder)
        asked = (self.sweep.boxes, self.sweep.search)
        if asked != self._asked:
            self._asked = asked
            self._proposals: Proposals = proposals_of(self._folder, self.sweep)
            self._line.count(self.sweep.count)

    def _heed(self) -> None:
        """Take in what was asked of this process since the last look."""
        signalled = self._pool.wake()
        now = time.monotonic()
        if now >= self._look_again:
            self._look_again = now + _LOOK_AGAIN_S
            if self._changed():
                self._read()
                self._find()
        if signalled is not None:
            self._stop(BY_SYSTEM)
        elif self.sweep.stopped:
            self._stop(STOPPED)
        elif self._stopping == STOPPED and not self.sweep.lacks(os.environ):
            # It is wanted again before all of it had stopped.
            self._stopping = ""
            self._says.say("")

    def _stop(self, reason: str) -> None:
        if self._stopping in (reason, BY_SYSTEM):
            return
        self._stopping = reason
        if reason == STOPPED:
            self._recall.begin()
            self._call_back()
        elif self._pool.holds:
            self._pool.notify(Notice(reason))
        else:
            # They have supervisors of their own, and go on without this process.
            self._running.clear()
        self._says.say(f"is stopping: {reason}")

    def _call_back(self) -> None:
        """Have all that runs of the sweep stop, whoever has it."""
        called = self._recall.turn({*self._running})
        self._running |= called.adopted
        for trial, folder in called.others.items():
            self._others.add(trial, folder)
        for trial in called.adopted:
            self._others.drop(trial)
        self._says.remark("stop", self._recall.problem)

    # -- what is there ------------------------------------------------------------------------

    def _find(self) -> None:
        """Look through the run folders: which trials are to go on, which have ended."""
        waiting: list[int] = []
        name = self.sweep.name
        held = {*self._running, *self._others.held}
        seen: set[int] = set()
        found = statuses(self._workspace, all=True)
        catch_up(name, found, self._line.known)
        for status in found:
            trial = trial_told(name, status)
            if trial is None or trial in held:
                continue
            seen.add(trial)
            if status.state is State.SUCCEEDED:
                self._complaints.over()
            if status.state in ENDED:
                self._told(trial, status.record.folder, status.state.value)
            if status.state in ALIVE:
                self._others.add(trial, status.record.folder)
            elif self._goes_on(trial, status):
                waiting.append(trial)
        # What was in the way of those may be gone.
        for trial in self._others.left_alone():
            self._line.append(trial)
        self._line.found(seen, waiting)

    def _goes_on(self, trial: int, status: JobStatus) -> bool:
        """Return whether a trial is to run, or to run again."""
        bad = status.state in (State.FAILED, State.CANCELLED)
        again = bad and self.sweep.again.get(str(trial)) == status.attempt
        return again or _unfinished(status.state)

    # -- what is done -------------------------------------------------------------------------

    def _fill(self) -> None:
        """Begin trials while there is room for them."""
        if not self._room.there():
            return self._says.say(self._room.problem)
        if not self._line.backoff.over(_POOL, time.monotonic()):
            return None
        self._says.say("")
        room = self._room_now()
        while room > 0:
            records = self._records(room)
            begun = self._begin(records) if records else 0
            if not begun:
                return None
            room -= begun
            self._ready.prepare(self._line, self._proposals)
        return None

    def _room_now(self) -> int:
        most = self.sweep.max_running
        busy = len(self._others.running)
        if not self._proposals.ahead:
            # What is proposed next depends on what these come to.
            most = most or 1
            return min(most - len(self._running), self._pool.room(most, busy))
        return self._pool.room(most, busy)

    def _records(self, most: int) -> dict[int, JobRecord]:
        """Return trials that wait, `most` at most, whose run folders are there by now."""
        found: dict[int, JobRecord] = {}
        while len(found) < min(most, self._pool.most):
            trial = self._line.take()
            if trial is None:
                break
            record = None
            try:
                with self._waiting():
                    record = self._ready.record(trial, self._proposals)
            except ConflictError:
                self._others.leave(trial)
                continue
            if record is None:
                self._line.first([trial])
                break
            # A pool that begins it itself looks once more.
            if not self._pool.holds and self._ready.is_gone(trial, record):
                self._others.leave(trial)
            else:
                found[trial] = record
        return found

    def _begin(self, records: Mapping[int, JobRecord]) -> int:
        """Return how many trials of the first run by now, or are others'; the rest wait again."""
        trials, fresh = list(records), self._maker.fresh
        begun = 0
        try:
            with self._waiting():
                begun = self._pool.begin(list(records.values()), self.sweep.max_running, fresh)
                self._take_up({trial: records[trial] for trial in trials[:begun]}, fresh)
        except ConflictError:
            # Somebody was quicker: `perdure resume`.
            self._others.leave(trials[0])
            begun = 1
        fresh.difference_update(records[trial].job for trial in trials[:begun])
        self._line.first(trials[begun:])
        return begun

    def _take_up(self, begun: Mapping[int, JobRecord], fresh: Collection[str]) -> None:
        """Take in which trials run by now."""
        self._running |= begun
        self._line.backoff.succeeded(_POOL)
        for trial, record in begun.items():
            self._ready.begun(trial)
            if not self._pool.holds and record.job not in fresh:
                self._unbegun.handed(trial, max(folders.attempts(record.folder), default=0))

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait for a moment before trials are begun where a disk or a host refuses something."""
        try:
            yield
        except ConflictError:
            raise
        except OSError as error:
            self._room.refused(error)
            self._says.say(self._room.problem)
        except PerdureError as error:
            self._says.say(f"cannot begin a trial: {error.message}")
            self._line.backoff.failed(_POOL, time.monotonic())

    def _told(self, trial: int, folder: Path, state: str) -> None:
        """Tell the proposals what a trial came to, now or once the disk takes it."""
        self._verdicts.add(trial, folder, state)
        self._tell()

    def _tell(self) -> None:
        with self._waiting():
            self._verdicts.tell(self._proposals)

    def _note(self, rest: Rest) -> None:
        """Write down what became of a trial, and whether it goes on."""
        trial = trial_number(self.sweep.name, rest.job)
        record = self._running.pop(trial, None) if trial is not None else None
        if trial is None or record is None:
            return
        row = ended.looked(record, trial, rest)
        if row.state == State.FAILED.value and not self._room.there():
            # Whatever it says, there was no space: it is not the trial's fault.
            self._line.append(trial)
        elif _unfinished(State(row.state)):
            self._rested(trial, record, row)
            self._line.append(trial)
        else:
            self._unbegun.rested(trial, row.attempt)
            self._index.add(row)
            self._told(trial, record.folder, row.state)
            why = self._complaints.heard(row, self.sweep.doubt)
            if why:
                self._end_early(why)

    def _rested(self, trial: int, record: JobRecord, row: ended.Row) -> None:
        """See to it that a trial waits that comes no further; one that never begins is told of."""
        now = time.monotonic()
        supervised = self._pool.holds or self._stopping
        times = 0 if supervised else self._unbegun.rested(trial, row.attempt)
        why = told(record, times) if times else ""
        self._says.remark("unbegun", why)
        if not times:
            return self._line.backoff.interrupted(trial, row.durable_step, now)
        self._line.backoff.failed(trial, now)
        others = islice(self._running.values(), _ASKED)
        if times >= MOST and not any(read_status(each.folder).attempt for each in others):
            self._end_early(why)
        return None

    def _end_early(self, why: str) -> None:
        """Stop the sweep, and say why."""
        self._look_again = 0.0
        # A disk that is full now: the next failure says it again.
        with contextlib.suppress(PerdureError):
            edit(self._folder, lambda sweep: wanting(sweep, stopped=True, why=why))

    def _now_and_then(self) -> None:
        now = time.monotonic()
        if now < self._seldom:
            return
        self._seldom = now + _SELDOM_S
        self._look_at_others()
        if self._stopping == STOPPED and not self._recall.done:
            self._call_back()
            self._says.say(f"is stopping: {self._stopping}")
        self._prune()
        if now > self._ledger:
            self._ledger = now + _LEDGER_S
            statuses(self._workspace, all=False)

    def _prune(self) -> None:
        """Pass on what was kept back, and end the trials that the proposals give up."""
        self._tell()
        running = {trial: record.folder for trial, record in self._running.items()}
        with self._waiting():
            self._verdicts.ask(self._proposals, running)
        self._says.remark("prune", self._verdicts.carry_out(self._pool, running))

    def _look_at_others(self) -> None:
        for trial, status in self._others.rested():
            goes_on = self._goes_on(trial, status)
            if goes_on and self._others.keep(trial, status):
                continue
            self._others.drop(trial)
            if goes_on:
                self._line.append(trial)
            else:
                self._told(trial, status.record.folder, status.state.value)
        self._says.remark("aside", self._others.why)


def _unfinished(state: State) -> bool:
    """Return whether a trial in that state is to be gone on with."""
    return state in (State.LOST, State.INTERRUPTED, State.QUEUED, State.UNKNOWN)
