"""One execution of the training: from its start to the moment when nothing of it is left."""

from __future__ import annotations

import os
import socket
import time
from itertools import chain
from typing import TYPE_CHECKING

from perdure.runtime import names
from perdure.runtime.supervisor import child as children
from perdure.runtime.supervisor import memory, processes
from perdure.runtime.supervisor.channel import Channel, Message, Tail, read_message
from perdure.runtime.supervisor.decision import Exit
from perdure.runtime.supervisor.events import Steps
from perdure.runtime.supervisor.notice import CANCEL_GRACE_S, Notice, grace_left
from perdure.runtime.supervisor.watch import TICK_S

if TYPE_CHECKING:
    from collections.abc import Generator

    from perdure.runtime.supervisor.events import Events, Value
    from perdure.runtime.supervisor.options import Options
    from perdure.runtime.supervisor.progress import Progress
    from perdure.runtime.supervisor.watch import Wait, Watch
    from perdure.runtime.supervisor.ways import Ways

# What a training leaves behind when it ends by itself has this long to follow.
LINGER_S = 2.0
# A process in an uninterruptible call does not die: unless it is the child, it is left then.
GIVE_UP_S = 5.0
_NEVER = float("inf")
_FINAL = (names.EXIT_DONE, names.EXIT_INTERRUPTED, names.EXIT_FENCED)


class Attempt:
    """The child of one generation and what is known of it."""

    def __init__(
        self, options: Options, generation: int, watch: Watch, events: Events, ways: Ways
    ) -> None:
        self._ways = ways
        self._options = options
        self._generation = generation
        self._watch = watch
        self._events = events
        self._steps = Steps()
        self._kill_at = _NEVER
        self._noticed = False
        self._cancelled = False
        self._fenced = False
        self._killed = False
        self._asked_to_follow = False
        self._nonsense = 0
        self._starved = memory.kills()
        self.started_at = time.monotonic()

    def turns(self, progress: Progress) -> Generator[Wait, None, Exit]:
        """Run the training to its end and return how that was. Starts a process.

        Yields what is to be waited for before it is looked after again.
        """
        self._progress = progress
        self._channel = Channel()
        self._tail = Tail(self._beside(names.ATTEMPTS, ".ctl"))
        try:
            self._child = self._start()
        except children.CannotStart as error:
            self._events.write("warning", {"text": str(error)})
            return Exit(code=error.code, noticed=self._noticed)
        finally:
            self._channel.started()
        self._watch.start_clouds()
        try:
            while not self._over():
                left = self._kill_at - time.monotonic()
                yield self._channel.fds(), left if left > 0 else TICK_S
                self._hear()
                self._heed()
            return self._end()
        finally:
            self._channel.close()
            self._tail.close()

    def _start(self) -> children.Child:
        options, generation = self._options, self._generation
        channel = self._channel.theirs.fileno()
        environ = children.environment(options, generation, channel)
        log, problem = children.open_log(options.run_dir, generation)
        try:
            child = self._ways.start(options, environ, channel, log)
        finally:
            os.close(log)
        self._events.write(
            "started",
            {
                "pid": child.pid,
                "pgid": child.pid,
                "host": socket.gethostname(),
                "boot": processes.boot(),
                "start_ticks": processes.start_ticks(child.pid),
                "command": list(options.command),
                "cwd": options.cwd,
            },
        )
        if problem:
            self._events.write("warning", {"text": problem})
        return child

    def _beside(self, folder: str, suffix: str) -> str:
        return os.path.join(self._options.run_dir, folder, names.numbered(self._generation, suffix))

    def _hear(self) -> None:
        """Write down what the training tells."""
        for line in chain(self._channel.hear(), self._tail.hear()):
            message = read_message(line)
            if message is None:
                self._nonsense += 1
                if self._nonsense == 1:
                    self._events.write("warning", {"text": "unreadable line from the training"})
                continue
            self._progress.hear(message)
            self._note(message)
        self._write_step(self._steps.due(time.monotonic()))
        warning = self._watch.warning()
        if warning is not None:
            self._events.write("warning", {"text": warning})

    def _note(self, message: Message) -> None:
        if message.event == "step":
            self._write_step(self._steps.offer(message.number, time.monotonic()))
            return
        if message.event == "exiting":
            self._write_step(self._steps.flush())
        self._events.write(message.event, message.fields)

    def _write_step(self, step: int | None) -> None:
        if step is not None:
            self._events.write("step", {"step": step})

    def _heed(self) -> None:
        """Pass on what asks the training to stop."""
        if not self._fenced and self._watch.superseded(self._generation):
            # Nothing that it could still save would be taken.
            self._fenced = True
            self._stop(Notice("fenced"), 0.0)
        if self._watch.cancelled(self._generation):
            self._cancelled = True
            self._stop(Notice("cancel"), min(CANCEL_GRACE_S, self._options.grace_s))
        notice = self._watch.notice(self._generation)
        while notice is not None:
            left = grace_left(notice, time.time(), self._options.grace_s)
            # Asking twice hurries nothing; a deadline that is nearer than the grace does.
            sooner = notice.deadline is not None and time.monotonic() + left < self._kill_at
            if not self._noticed or sooner:
                self._stop(notice, left)
            notice = self._watch.notice(self._generation)

    def _stop(self, notice: Notice, left: float) -> None:
        self._noticed = True
        self._kill_at = min(self._kill_at, time.monotonic() + left)
        told: dict[str, Value] = {"reason": notice.reason, "deadline": notice.deadline}
        if notice.stays:
            told["stays"] = True
        self._events.write("notice", {**told, "grace_s": left})
        self._channel.tell(notice)
        self._child.ask()

    def _over(self) -> bool:
        """Look after the processes; return whether nothing is left to wait for."""
        self._child.reap()
        late = time.monotonic() - self._kill_at
        if late >= 0:
            self._killed = self._killed or not self._conclusive()
            self._child.kill()
            self._child.reap()
        if self._child.status is None:
            return False
        left = self._child.belonging()
        if left and late > GIVE_UP_S:
            self._events.write("warning", {"text": f"processes that cannot be killed: {left}"})
            return True
        if left:
            self._linger()
        return not left

    def _linger(self) -> None:
        """Give those whom the child left behind their time: it may have been only their shell."""
        if not (self._noticed or self._asked_to_follow):
            self._asked_to_follow = True
            self._child.ask()
        if self._conclusive():
            self._kill_at = min(self._kill_at, time.monotonic() + LINGER_S)

    def _conclusive(self) -> bool:
        """Return whether the training itself has ended, as far as anyone can tell."""
        status = self._child.status
        if status is None:
            return False
        return not self._noticed or self._progress.said is not None or status.code in _FINAL

    def _end(self) -> Exit:
        self._hear()
        self._write_step(self._steps.flush())
        status, progress = self._child.status, self._progress
        assert status is not None  # _over() has seen it
        return Exit(
            code=status.code,
            signal=status.signal,
            said=progress.said,
            greeted=progress.greeted,
            noticed=self._noticed,
            cancelled=self._cancelled,
            fenced=self._fenced,
            killed=self._killed,
            stepped=progress.stepped,
            advanced=progress.advanced,
            starved=memory.kills() > self._starved,
        )
