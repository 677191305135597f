"""Many jobs supervised by one process: the same loop for each, one poll for all.

What costs a job most is left out or done for many at once: no interpreter of its own, no scan of
/proc where the kernel can say at once that nothing of the job is left, and what is to be durable is
so some seconds later, for all jobs together (see `settling`). Nothing else is different: the same
files, the same locks, the same answers to notices.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional

from perdure.runtime.supervisor import child as children
from perdure.runtime.supervisor import lock, processes
from perdure.runtime.supervisor.complaint import Complaint, tell
from perdure.runtime.supervisor.loop import EXIT_STORAGE, Loop
from perdure.runtime.supervisor.settling import Claims, Settling
from perdure.runtime.supervisor.watch import TICK_S, Watch
from perdure.runtime.supervisor.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from perdure.runtime.supervisor.decision import Verdict
    from perdure.runtime.supervisor.events import Events
    from perdure.runtime.supervisor.notice import Notice
    from perdure.runtime.supervisor.options import Options
    from perdure.runtime.supervisor.signals import Signals
    from perdure.runtime.supervisor.watch import Wait

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
# Looking after a job takes some 30 microseconds: of a thousand not all ten times a second.
_TICK_S_A_JOB = 0.001
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


class Ended(NamedTuple):
    """A job that came to its end: the supervisor's exit code, its last attempt, what was decided.

    No verdict: it could not be written down, whatever it was.
    """

    run_dir: str
    code: int
    attempt: int = 0
    verdict: Optional[Verdict] = None


class Several:
    """The jobs that this process looks after. Every child of the process is taken for theirs."""

    def __init__(self, signals: Signals) -> None:
        self.settling = Settling()
        self._claims = Claims()
        self._signals = signals
        self._complaint = Complaint()
        self._jobs: Dict[str, _Job] = {}
        self._wards: Dict[int, Ward] = {}
        self._by_fd: Dict[int, _Job] = {}
        self._ended: List[Ended] = []
        self._fresh: set[str] = set()
        # The last words on jobs, which their events have by now.
        self._told: Dict[str, tuple[int, Verdict]] = {}
        self._census = _Census() if _become_reaper() else None
        self._programs: Dict[tuple[str, str], str] = {}
        self._ways = Ways(self._start, self._claim, self._settle)

    def __len__(self) -> int:
        return len(self._jobs)

    def begin(self, options: Options, *, fresh: bool = False) -> None:
        """Begin to supervise a job. Takes the lock of its run folder, starts a process.

        `fresh`: the run folder was just made, and is not looked through.

        Raises:
            AlreadyRunning: another supervisor holds the run folder, or has just had a fresh one.
            OSError: the run folder cannot be locked.
        """
        held = lock.take(options.run_dir)
        watch = Watch(options, _Unsignalled(self._signals))
        loop = Loop(options, watch, self._complaint, self._ways)
        job = _Job(options.run_dir, held, watch, loop.turns(held.problem, fresh=fresh))
        self._jobs[job.run_dir] = job
        if fresh:
            self._fresh.add(job.run_dir)
        try:
            self._advance(job)
        except lock.AlreadyRunning:
            del self._jobs[job.run_dir]
            held.release()
            raise

    def turn(self, timeout_s: float) -> List[Ended]:
        """Look after all; return those that came to an end.

        Returns when one ends, a signal comes, or the time is over.
        """
        until = time.monotonic() + timeout_s
        while not self._ended and not self._signals.arrived:
            now = time.monotonic()
            due = min((job.due for job in self._jobs.values()), default=until)
            ready = self._signals.wait(tuple(self._by_fd), max(0.0, min(due, until) - now))
            for job in self._needing(ready):
                self._advance(job)
            if time.monotonic() >= until:
                break
        ended, self._ended = self._ended, []
        return ended

    def notify(self, notice: Notice) -> None:
        """Pass a notice on to all."""
        for job in self._jobs.values():
            job.watch.post(notice)

    def close(self) -> None:
        """Make durable what is not yet. Jobs that run go on, and are nobody's."""
        for job in self._jobs.values():
            job.held.release()
        self._jobs.clear()
        self.settling.close()
        if self._census is not None:
            self._census.close()

    def _needing(self, ready: Sequence[int]) -> List[_Job]:
        """Return whom there is something to do for; children that ended are reaped."""
        found = {self._by_fd[fd].run_dir for fd in ready if fd in self._by_fd}
        found |= self._reap()
        now = time.monotonic()
        return [job for job in self._jobs.values() if job.run_dir in found or job.due <= now]

    def _reap(self) -> set[str]:
        """Return the run folders of jobs whose child has ended."""
        found: set[str] = set()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if pid == 0:
                return found
            ward = self._wards.pop(pid, None)
            if ward is not None:
                ward.status = children.status_of(status)
                found.add(ward.run_dir)

    def _advance(self, job: _Job) -> None:
        try:
            fds, seconds = next(job.turns)
        except StopIteration as end:
            self._finish(job, int(end.value))
        except OSError as error:
            tell(f"cannot write to `{job.run_dir}`: {error}")
            self._finish(job, EXIT_STORAGE)
        else:
            tick = max(TICK_S, len(self._jobs) * _TICK_S_A_JOB)
            job.due = time.monotonic() + min(seconds, tick)
            if fds != job.fds:
                self._listen(job, fds)

    def _listen(self, job: _Job, fds: tuple[int, ...]) -> None:
        for fd in job.fds:
            self._by_fd.pop(fd, None)
        for fd in fds:
            self._by_fd[fd] = job
        job.fds = fds

    def _finish(self, job: _Job, code: int) -> None:
        self._listen(job, ())
        del self._jobs[job.run_dir]
        job.held.release()
        attempt, verdict = self._told.pop(job.run_dir, (0, None))
        self._ended.append(Ended(job.run_dir, code, attempt, verdict))

    def _claim(self, run_dir: str) -> int:
        if run_dir in self._fresh:
            self._fresh.discard(run_dir)
            try:
                generation = self._claims.claim_first(run_dir)
            except FileExistsError:
                raise lock.AlreadyRunning(f"somebody has had `{run_dir}` meanwhile") from None
        else:
            generation = self._claims.claim(run_dir)
        self.settling.add(run_dir)
        return generation

    def _settle(self, events: Events, verdict: Verdict) -> None:
        folder, name = os.path.split(events.path)
        run_dir = os.path.dirname(folder)
        self.settling.add(run_dir)
        if events.whole:
            self._told[run_dir] = (int(name.partition(".")[0]), verdict)

    def _start(
        self, options: Options, environ: Mapping[str, str], channel: int, log: int
    ) -> children.Child:
        pid = _spawn(options, environ, channel, log, self._programs)
        ward = Ward(pid, options.run_dir, self._left)
        self._wards[ward.pid] = ward
        return ward

    def _left(self) -> bool:
        """Return whether this process may have children that no running job leads."""
        if self._census is None:
            return True
        found = self._census.take()
        return found is None or any(pid not in self._wards for pid in found)


class _Job:
    """A job and what it waits for."""

    def __init__(
        self, run_dir: str, held: lock.Lock, watch: Watch, turns: Generator[Wait, None, int]
    ) -> None:
        self.run_dir = run_dir
        self.held = held
        self.watch = watch
        self.turns = turns
        self.fds: tuple[int, ...] = ()
        self.due = 0.0


class Ward(children.Child):
    """A child that is reaped for it, and knows without a scan when nothing is left of it."""

    def __init__(self, pid: int, run_dir: str, left: object) -> None:
        super().__init__(pid, run_dir)
        self.run_dir = run_dir
        self._may_be_left = left

    def reap(self) -> None:
        """Nothing: `Several` reaps all its children."""

    def belonging(self) -> List[int]:
        """Return what is alive of the attempt."""
        # What a dead child had started has this process for its parent: it is the next reaper.
        if self.status is not None and callable(self._may_be_left) and not self._may_be_left():
            return []
        return processes.belonging(self.pid, self.run_dir)


class _Unsignalled:
    """What a job's watch has in place of signals: those of this process are not one job's."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def take(self) -> Optional[str]:
        return None

    def wake(self) -> None:
        self._signals.wake()

    def wait(self, fds: Sequence[int], timeout_s: float) -> None:  # noqa: ARG002 - the protocol's
        raise AssertionError("`Several` waits for all")


def _spawn(
    options: Options,
    environ: Mapping[str, str],
    channel: int,
    log: int,
    programs: Dict[tuple[str, str], str],
) -> int:
    """Return the process id of the command, started as `child.start` does, in half the time.

    Raises:
        CannotStart: there is no such command or folder, or it may not be run.
    """
    try:
        # The one who comes after has another folder; whoever has many jobs has one for them all.
        os.chdir(options.cwd)
        known = (options.command[0], environ.get("PATH", os.defpath))
        program = programs.get(known) or programs.setdefault(known, _found(*known))
        os.set_inheritable(channel, True)
        return os.posix_spawn(
            program,
            options.command,
            environ,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    except NotImplementedError:  # a system whose posix_spawn knows no sessions
        return children.start(options, environ, channel, log).pid
    except OSError as error:
        raise children.cannot_start(options, error) from None


def _found(word: str, path: str) -> str:
    if os.path.dirname(word):
        return word
    found = shutil.which(word, path=path)
    if found is None:
        raise FileNotFoundError(2, os.strerror(2), word)
    return found


def _become_reaper() -> bool:
    """Have orphans of this process's children become its own children; return whether they do."""
    if not os.path.exists(_CHILDREN.format(os.getpid())):
        return False
    try:
        words = [ctypes.c_ulong(word) for word in (1, 0, 0, 0)]
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, *words) == 0)
    except (AttributeError, OSError):
        return False


_CHILDREN = "/proc/self/task/{}/children"


class _Census:
    """The children of this process, which are all its main thread's: no other one starts any."""

    def __init__(self) -> None:
        self._fd = os.open(_CHILDREN.format(os.getpid()), os.O_RDONLY)

    def take(self) -> Optional[List[int]]:
        """Return their process ids, None where the system does not say."""
        found = b""
        try:
            while True:
                piece = os.pread(self._fd, 65536, len(found))
                if not piece:
                    return [int(word) for word in found.split()]
                found += piece
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
