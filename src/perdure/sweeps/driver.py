"""What drives one sweep: starts trials while there is room, and sees them end.

It holds nothing that is not on the disk: what was asked stands in the sweep's folder, what became
of it in run folders. One that is killed is followed by another, which goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from perdure.errors import ConflictError, NewerFormatError, PerdureError
from perdure.jobs import folder as folders
from perdure.jobs.ledger import hosts_asked, statuses
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import ALIVE, ENDED, JobRecord, State
from perdure.model.sweep import job_name, trial_number
from perdure.runtime import names
from perdure.sweeps import ended
from perdure.sweeps.backoff import Backoff
from perdure.sweeps.brought import bring, catch_up
from perdure.sweeps.holding import Holding, Word, version
from perdure.sweeps.pool import Pool, Rest
from perdure.sweeps.proposals import Proposals, proposals_of
from perdure.sweeps.record import edit, editing, read_sweep, wanting
from perdure.sweeps.room import Room
from perdure.sweeps.trials import Maker
from perdure.targets.protocol import Notice

LOOK_S = 0.2
# No more often than this, however many trials end meanwhile.
_LOOK_AGAIN_S = 0.05
# How often what others supervise, or Optuna wants pruned, is looked at.
_SELDOM_S = 1.0
# The ledger is brought up to date so often, so that listing ten thousand jobs does not do it.
_LEDGER_S = 10.0
_BY_SYSTEM = "SIGTERM"
_STOPPED = "the sweep was stopped"
# Run folders that are made before there is room for their jobs.
_AHEAD = 8
# No trial's number: what waits is the pool, where a job could not be begun.
_POOL = 0


class Driver:
    """One sweep, from where it stands to its end."""

    def __init__(
        self, workspace: Workspace, folder: Path, pool: Pool, maker: Maker, said: Holding
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._pool = pool
        self._maker = maker
        self._said = said
        self._room = Room(workspace.project.results)
        self._backoff = Backoff()
        self._index = ended.Index(folder)
        self._waiting: deque[int] = deque()
        self._running: dict[int, JobRecord] = {}
        self._making: dict[int, Future[JobRecord]] = {}
        self._ahead: set[int] = set()
        self._maker_thread = ThreadPoolExecutor(1, "making")
        # Trials that somebody resumed by hand: another supervisor has them.
        self._others: dict[int, Path] = {}
        self._known: set[int] = set()
        self._stopping = ""
        self._waits = ""
        self._seldom = self._ledger = self._look_again = 0.0
        self._began = time.time()
        self._usage_errors = 0
        self._seen = ""
        self._asked: tuple[object, object] | None = None
        self._read()

    def run(self) -> None:
        """Drive the sweep until nothing of it is left to do, or it is to stop."""
        # Their run folders may have been deleted since: they are not run again for that.
        self._known |= set(ended.read_index(self._folder))
        self._find()
        while True:
            self._heed()
            if not self._stopping:
                self._fill()
            if not self._busy() and self._may_end():
                return
            for rest in self._pool.turn(LOOK_S):
                self._note(rest)
            self._now_and_then()

    def close(self) -> None:
        """Close what is open. Run folders that are made by now are found by the next driver."""
        self._maker_thread.shutdown(cancel_futures=True)
        self._index.close()

    def _busy(self) -> bool:
        if self._stopping:
            return bool(self._running)
        return bool(self._running or self._waiting or self._others or self._left())

    def _may_end(self) -> bool:
        """Return whether nobody wants more; from then on nobody takes this driver for alive."""
        with editing(self._folder):
            if self._changed() and self._stopping != _BY_SYSTEM:
                self._look_again = 0.0
                return False
            over = "" if self._stopping else self._seen
            self._said.say(Word(os.getpid(), self._began, self._stopping, over))
            self._said.release()
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
            self._fresh = self._numbers()

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
            self._stop(_BY_SYSTEM)
        elif self.sweep.stopped:
            self._stop(_STOPPED)
        elif self._stopping == _STOPPED:
            # It is wanted again before all of it had stopped.
            self._stopping = ""
            self._say("")

    def _stop(self, reason: str) -> None:
        if not self._stopping:
            self._stopping = reason
            self._say(f"is stopping: {reason}")
            if self._pool.holds or reason != _BY_SYSTEM:
                self._pool.notify(Notice(reason))
            else:
                # They have supervisors of their own, and go on without this process.
                self._running.clear()

    # -- what is there ------------------------------------------------------------------------

    def _find(self) -> None:
        """Look through the run folders: which trials are to go on, which have ended."""
        waiting: list[int] = []
        name = self.sweep.name
        held = {*self._running, *self._others}
        seen: set[int] = set()
        found = statuses(self._workspace, all=True)
        catch_up(name, found, self._known)
        for status in found:
            trial = trial_number(name, status.record.job)
            if trial is None or trial in held:
                continue
            seen.add(trial)
            if status.state is State.SUCCEEDED:
                self._usage_errors = -1
            if status.state in ENDED:
                self._proposals.told(trial, status.record.folder, status.state.value)
            if status.state in ALIVE:
                self._others[trial] = status.record.folder
            elif _goes_on(status.state) or self._again(trial, status.state, status.attempt):
                waiting.append(trial)
        self._known |= seen
        # Those that wait and have no run folder yet are nobody else's to remember.
        unmade = [trial for trial in self._waiting if trial not in seen]
        self._waiting = deque([*sorted(waiting), *unmade])

    def _again(self, trial: int, state: State, attempt: int) -> bool:
        bad = state in (State.FAILED, State.CANCELLED)
        return bad and self.sweep.again.get(str(trial)) == attempt

    def _numbers(self) -> Iterator[int]:
        return (trial for trial in range(1, self.sweep.count + 1) if trial not in self._known)

    def _left(self) -> bool:
        """Return whether there are trials that never began; the next one waits first in line."""
        trial = next(self._fresh, None)
        if trial is None:
            return False
        self._known.add(trial)
        self._waiting.append(trial)
        return True

    # -- what is done -------------------------------------------------------------------------

    def _fill(self) -> None:
        """Begin trials while there is room for them."""
        if not self._room.there():
            return self._say(self._room.problem)
        if not self._backoff.over(_POOL, time.monotonic()):
            return None
        self._say("")
        room = self._room_now()
        while room > 0:
            records = self._records(room)
            begun = self._begin(records) if records else 0
            if not begun:
                return None
            room -= begun
            self._prepare()
        return None

    def _room_now(self) -> int:
        most = self.sweep.max_running
        if not self._proposals.ahead:
            # What is proposed next depends on what these come to.
            most = most or 1
            return min(most - len(self._running), self._pool.room(most, len(self._others)))
        return self._pool.room(most, len(self._others))

    def _prepare(self) -> None:
        """Have run folders made for those that come next, while others begin."""
        if not self._proposals.ahead:
            return
        while len(self._making) < _AHEAD and self._left():
            trial = self._waiting[-1]
            values = self._proposals.values(trial)
            if values is not None:
                self._making[trial] = self._maker_thread.submit(self._maker.make, trial, values)

    def _next(self) -> int | None:
        for _ in range(len(self._waiting)):
            trial = self._waiting.popleft()
            if self._backoff.over(trial, time.monotonic()):
                return trial
            self._waiting.append(trial)
        return self._waiting.pop() if self._left() else None

    def _records(self, most: int) -> dict[int, JobRecord]:
        """Return trials that wait, `most` at most, whose run folders are there by now."""
        found: dict[int, JobRecord] = {}
        while len(found) < min(most, self._pool.most):
            trial = self._next()
            if trial is None:
                break
            try:
                record = self._record(trial)
            except ConflictError:
                self._leave(trial)
                continue
            except OSError as error:
                self._refused(error)
                record = None
            except PerdureError as error:
                self._cannot(error)
                record = None
            if record is None:
                self._waiting.appendleft(trial)
                break
            # A pool that begins a fresh one itself is told by its claim.
            ahead = trial in self._ahead and not self._pool.holds
            if not (ahead and self._killed(record)):
                found[trial] = record
        return found

    def _begin(self, records: Mapping[int, JobRecord]) -> int:
        """Return how many trials of the first run by now, or are others'; the rest wait again."""
        trials, fresh = list(records), self._maker.fresh
        try:
            begun = self._pool.begin(list(records.values()), self.sweep.max_running, fresh)
        except ConflictError:
            # Somebody was quicker: `perdure resume`.
            self._leave(trials[0])
            begun = 1
        except OSError as error:
            self._refused(error)
            begun = 0
        except PerdureError as error:
            self._cannot(error)
            begun = 0
        else:
            self._ahead.difference_update(trials[:begun])
            self._running |= {trial: records[trial] for trial in trials[:begun]}
            self._backoff.succeeded(_POOL)
        fresh.difference_update(records[trial].job for trial in trials[:begun])
        self._waiting.extendleft(reversed(trials[begun:]))
        return begun

    def _leave(self, trial: int) -> None:
        """Leave a trial to those who have it: or a job of that name that is none of ours."""
        self._others[trial] = self._workspace.project.results / job_name(self.sweep.name, trial)

    def _cannot(self, error: PerdureError) -> None:
        self._say(f"cannot begin a trial: {error.message}")
        self._backoff.failed(_POOL, time.monotonic())

    def _refused(self, error: OSError) -> None:
        self._room.refused(error)
        self._say(self._room.problem)

    def _killed(self, record: JobRecord) -> bool:
        """Return whether somebody ended a job that was made ahead, and never ran."""
        return bool(folders.claimed(record.folder)) and not _goes_on(
            read_status(record.folder).state
        )

    def _record(self, trial: int) -> JobRecord | None:
        """Return the record of a trial whose run folder is there, made if it was not."""
        made = self._making.pop(trial, None)
        if made is not None:
            self._ahead.add(trial)
            return made.result()
        folder = self._workspace.project.results / job_name(self.sweep.name, trial)
        if folders.is_job(folder):
            try:
                return folders.read_record(folder)
            except NewerFormatError:
                raise
            except PerdureError:
                # A loss of power left it empty: it was not durable yet, and is made again.
                (folder / names.JOB_FILE).unlink()
        values = self._proposals.values(trial)
        return None if values is None else self._maker.make(trial, values)

    def _note(self, rest: Rest) -> None:
        """Write down what became of a trial, and whether it goes on."""
        trial = trial_number(self.sweep.name, rest.job)
        record = self._running.pop(trial, None) if trial is not None else None
        if trial is None or record is None:
            return
        row = ended.looked(record, trial, rest)
        if row.state == State.FAILED.value and not self._room.there():
            # Whatever it says, there was no space: it is not the trial's fault.
            self._waiting.append(trial)
        elif _goes_on(State(row.state)):
            self._backoff.interrupted(trial, row.durable_step, time.monotonic())
            self._waiting.append(trial)
        else:
            self._index.add(row)
            self._proposals.told(trial, record.folder, row.state)
            self._judge(row)

    def _judge(self, row: ended.Row) -> None:
        """Stop where the first trials all end with a complaint about their arguments."""
        if row.code != ended.USAGE_ERROR or self._usage_errors < 0:
            self._usage_errors = -1
            return
        self._usage_errors += 1
        if self._usage_errors >= ended.MOST_USAGE_ERRORS:
            why = f"its first {self._usage_errors} trials ended with a usage error (exit code 2)"
            why += f": {self.sweep.doubt}" if self.sweep.doubt else ""
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
        running = {trial: record.folder for trial, record in self._running.items()}
        for trial in self._proposals.due(running):
            self._pool.cancel(job_name(self.sweep.name, trial))
        if now > self._ledger:
            self._ledger = now + _LEDGER_S
            statuses(self._workspace, all=False)

    def _look_at_others(self) -> None:
        with hosts_asked(self._others.values()):
            ended = [t for t, folder in self._others.items() if not folders.is_alive(folder)]
        if not bring(self._others[trial] for trial in ended):
            return
        for trial in ended:
            status = read_status(self._others.pop(trial))
            if _goes_on(status.state):
                self._waiting.append(trial)
            else:
                self._proposals.told(trial, status.record.folder, status.state.value)

    def _say(self, text: str) -> None:
        if text != self._waits:
            self._waits = text
            self._said.say(Word(os.getpid(), self._began, text))


def _goes_on(state: State) -> bool:
    """Return whether a trial in that state is to be gone on with."""
    return state in (State.LOST, State.INTERRUPTED, State.QUEUED, State.UNKNOWN)
