"""One machine's turn of a job: the supervisor, and beside it what keeps the bucket up to date.

Six threads and a process, the supervisor's: the beat of the lease; what hears what people ask; what
lets visitors in; the uploader of checkpoints; this one, which sends what the run folder has grown
by; and one that asks nobody. It goes by the clock alone, so no answer that is late keeps it from
ending the job in time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perdure.clouds.side import checkpoints, log, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.checkpoints import Shelf, Superseded
from perdure.clouds.side.lease import BEATS, Fenced, Lease
from perdure.clouds.side.order import BEYOND_S, Order
from perdure.clouds.side.outputs import Outputs
from perdure.hosts import local, processes
from perdure.runtime import names
from perdure.targets import supervision
from perdure.targets.protocol import Notice, Plan

FLUSH_S = 1.0
ASK_S = 2.0
_KEPT = 2
# After so long what is new goes into fewer, larger pieces.
_CALM_AFTER_S = 120.0
_CALM_S = 5.0
_TRY_AGAIN_S = 1.0
_NICE = 10
# What a job left is sent for so long beyond its deadline: at `BEYOND_S` the provider itself ends
# the machine, and then nobody could write down why.
LAST_S = BEYOND_S * 2 / 3
# How often the clock is looked at, and in the time to live of a lease at least.
_LOOK_S = 1.0
_LOOKS = 20


class GivenUp(Exception):
    """What a job left did not get into its bucket, and its time is over."""


@dataclass(slots=True)
class Turn:
    """A turn that has been prepared: all is on this machine."""

    bucket: Bucket
    job: str
    order: Order
    lease: Lease
    writer: log.Writer
    outputs: Outputs
    uploaded: str
    flush_s: float = FLUSH_S
    ask_s: float = ASK_S
    tick: Callable[[], None] = lambda: None
    #: Lets in who asks for it, None where nobody is let in.
    mind_door: Callable[[], None] | None = None
    #: Ends what is not below the supervisor's command: its container. None: there is none.
    end: Callable[[], None] | None = None
    say: Callable[[str], None] = print
    #: What a person is told of an error.
    explain: Callable[[Exception], str] = lambda error: f"{type(error).__name__}: {error}"
    _over: threading.Event = field(default_factory=threading.Event)
    _fenced: threading.Event = field(default_factory=threading.Event)
    #: Whether this machine is being shut down.
    stopped: bool = False
    _pid: int | None = None
    _heard: int = 0
    _late: bool = False

    @property
    def run_dir(self) -> Path:
        """Return the run folder."""
        return self.writer.run_dir

    def run(self, plan: Plan) -> int:
        """Return the supervisor's exit code; all that it left is in the bucket.

        Raises:
            Fenced: another machine has the job; nothing of it runs here any more.
            GivenUp: not all that it left is in the bucket, and there is no time any more.
        """
        self._heard = self.order.asked
        code = None
        with self._told_of_the_end():
            self._pid = pid = self._spawned(plan)
            self._pass_on()
            uploading = self._beside(pid)
            try:
                code = self._follow(pid)
                self._over.set()
                uploading.join()
                self._finish()
            finally:
                self._over.set()
                if self._fenced.is_set() or code is None:
                    self._kill(pid)
        return code

    def _beside(self, pid: int) -> threading.Thread:
        """Return the thread that uploads, once it and the others run."""
        uploading = threading.Thread(target=self._keep_uploading, daemon=True)
        threading.Thread(target=self._keep_to_the_clock, args=[pid], daemon=True).start()
        for keep in (self._keep_beating, self._keep_hearing, self._keep_door):
            threading.Thread(target=keep, daemon=True).start()
        uploading.start()
        return uploading

    def _spawned(self, plan: Plan) -> int:
        log_file = self.run_dir / names.SUPERVISOR_LOG
        environment = supervision.without_job(os.environ) | dict(plan.environment)
        return local.spawn_detached(plan.argv, env=environment, cwd=self.run_dir, log=log_file)

    def _follow(self, pid: int) -> int:
        """Return the supervisor's exit code once it has ended, and send what grows meanwhile."""
        began = time.monotonic()
        while True:
            # Asked before it is sent: what was written before is then sent.
            code = local.exit_code_of(pid)
            if self._fenced.is_set():
                raise Fenced(f"another machine has `{self.job}`")
            if code is not None:
                return code
            self.trying(self.tick)
            self.trying(self.writer.flush)
            calm = time.monotonic() - began > _CALM_AFTER_S
            until = time.monotonic() + (max(_CALM_S, self.flush_s) if calm else self.flush_s)
            while local.exit_code_of(pid) is None and time.monotonic() < until:
                if self._fenced.wait(0.05):
                    break

    def _finish(self) -> None:
        """Return once the bucket has all: the newest checkpoint, the outputs, the last words.

        The word that the job has ended comes last: nobody looks for more after it.
        """
        deadline = self.order.deadline
        for act in (self._upload_newest, self.outputs.send, self.writer.flush):
            pause_s = 0.0
            while not self._fenced.wait(pause_s):
                if not (problem := self._problem(act)):
                    break
                if deadline is not None and time.time() > deadline + LAST_S:
                    raise GivenUp(f"not all that it left is in the bucket: {problem}")
                pause_s = _TRY_AGAIN_S
            else:
                raise Fenced(f"another machine has `{self.job}`")

    def _keep_beating(self) -> None:
        # Until all is in the bucket, not only until the supervisor has ended.
        while not self._fenced.is_set() and not self.lease.held.released:
            beat_at = time.monotonic() + self.lease.ttl_s / BEATS
            self.trying(self.lease.beat)
            self._fenced.wait(max(0.0, beat_at - time.monotonic()))

    def _keep_hearing(self) -> None:
        while not self._fenced.is_set() and not self.lease.held.released:
            self.trying(self._hear)
            self._fenced.wait(self.ask_s)

    def _keep_door(self) -> None:
        # A visitor is let in within seconds at best: what people ask of the job waits for none.
        mind = self.mind_door
        while mind is not None and not self._over.wait(self.ask_s):
            self.trying(mind)

    def _keep_to_the_clock(self, pid: int) -> None:
        """End the job when another machine may have it, and tell it that its time is over."""
        while not self._fenced.wait(min(_LOOK_S, self.lease.ttl_s / _LOOKS)):
            if self.lease.held.released:
                return
            if not self.lease.is_sure():
                self.say("fenced: the bucket does not answer")
                self._fenced.set()
            self.trying(self._mind_deadline)
        self._kill(pid)

    def _keep_uploading(self) -> None:
        # Of this thread alone on Linux, and of those that it starts: the training comes first.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        was_problem = ""
        while not self._over.wait(self.flush_s / 4):
            if self._fenced.is_set():
                return
            if (problem := self._problem(self._upload_newest)) and not was_problem:
                self.note(f"no checkpoint counts as long as this is so: {problem}")
            if was_problem := problem:
                self._over.wait(_TRY_AGAIN_S)

    def _upload_newest(self) -> None:
        """Send the newest checkpoint if the bucket lacks it."""
        shelf = Shelf(self.bucket, self.job)
        newest = next(iter(checkpoints.here(self.run_dir)), "")
        if not newest or newest == self.uploaded:
            return
        folder = self.run_dir / names.CHECKPOINTS / newest
        try:
            shelf.upload(
                folder,
                is_superseded=lambda: self._is_superseded(newest),
                confirm=self._confirm,
            )
        except (FileNotFoundError, Superseded):
            return  # a newer one is there
        self.uploaded = newest
        shelf.keep_newest(_KEPT)

    def _confirm(self) -> None:
        """Return once a checkpoint may count: what was written before it is in the bucket.

        Rows of its steps and the user's files alike: whoever goes on from it writes neither again.
        Files that are newer than the checkpoint are what a machine that dies has on its disk, too.
        """
        self.writer.flush()
        if self._fenced.is_set():
            raise Fenced(f"another machine has `{self.job}`")
        self.outputs.send()
        self.lease.beat()

    def _is_superseded(self, name: str) -> bool:
        """Return whether a checkpoint that was made for a notice waits behind this one."""
        newest = next(iter(checkpoints.here(self.run_dir)), "")
        if newest == name:
            return False
        meta = self.run_dir / names.CHECKPOINTS / newest / "meta.json"
        try:
            found = json.loads(meta.read_bytes().split(b"\n")[0])
        except (OSError, ValueError):
            return False
        return bool(found.get("reason") in ("notice", "final"))

    def _hear(self) -> None:
        """Pass on what a person asks."""
        # Of what comes late there is no need: the short limits of the lease's own line are right.
        asked = standing.asked(self.lease.bucket, self.job)
        if asked.number > self._heard:
            if asked.verb == standing.CANCEL:
                (self.run_dir / names.CANCEL).touch()
            else:
                supervision.notify(self.run_dir, Notice(asked.reason, asked.deadline))
            self._heard = asked.number

    def _mind_deadline(self) -> None:
        deadline = self.order.deadline
        if deadline is not None and time.time() > deadline and not self._late:
            supervision.notify(self.run_dir, Notice("its max-hours are over"))
            self._late = True

    def trying(self, act: Callable[[], object]) -> bool:
        """Return whether something succeeded; a bucket that fails is asked again later."""
        return not self._problem(act)

    def note(self, text: str) -> None:
        """Write a line where a person looks what is wrong."""
        self.say(text)
        with (
            contextlib.suppress(OSError),
            (self.run_dir / names.SUPERVISOR_LOG).open("a") as file,
        ):
            file.write(f"{self.lease.holder}: {text}\n")

    def _problem(self, act: Callable[[], object]) -> str:
        """Return why something did not succeed, "" if it did."""
        try:
            act()
        except Fenced as error:
            self.say(f"fenced: {error}")
            self._fenced.set()
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is: training goes on, the lease decides
            self.say(f"the bucket: {type(error).__name__}: {str(error).splitlines()[:1]}")
            return self.explain(error) or type(error).__name__
        return ""

    def _kill(self, pid: int) -> None:
        local.kill_group(pid)
        if self.end is not None:
            self.end()
        run_dir = os.fspath(self.run_dir)
        processes.kill_all(lambda: processes.carrying(names.RUN_DIR, run_dir))

    @contextlib.contextmanager
    def _told_of_the_end(self) -> Iterator[None]:
        """Pass SIGTERM on to the supervisor: the machine is shut down, or its service stopped."""

        def stop(number: int, frame: object) -> None:  # noqa: ARG001 - a handler's signature
            self.stopped = True
            self._pass_on()

        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _pass_on(self) -> None:
        if self.stopped and self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
