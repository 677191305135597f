"""The line to the supervisor: events out, notices in, as JSON lines over an inherited socket.

A launcher in between, such as torchrun, may have closed the socket; the same lines then go to
`attempts/NNNNNN.ctl`, which the supervisor reads.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import time
from typing import Dict, Mapping, Optional

from perdure.runtime import names
from perdure.runtime.notice import Notice

_POLL_EVERY_S = 0.25
_STEP_EVERY_S = 0.2


class Control:
    """The channel of one attempt; silent where there is no supervisor."""

    def __init__(self, environ: Mapping[str, str], run_dir: str, generation: int) -> None:
        self._socket = _open(environ.get(names.CTL_FD))
        self._file: Optional[str] = None
        if self._socket is None and names.ATTEMPT in environ:
            self._file = os.path.join(run_dir, names.ATTEMPTS, names.numbered(generation, ".ctl"))
        self._received = b""
        self._polled = 0.0
        self._told_step = 0.0

    @property
    def connected(self) -> bool:
        """Whether notices can come over the line."""
        return self._socket is not None

    @property
    def supervised(self) -> bool:
        """Whether somebody listens."""
        return self._socket is not None or self._file is not None

    def send(self, event: str, **fields: object) -> None:
        """Tell the supervisor; what it cannot take at once is dropped, for it can wait."""
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        try:
            if self._socket is not None:
                self._socket.send(line, socket.MSG_DONTWAIT)
            elif self._file is not None:
                _append(self._file, line)
        except OSError:
            pass  # gone or full: the run folder holds the truth

    def step(self, step: int) -> None:
        """Tell the step, a few times a second at most."""
        now = time.monotonic()
        if self.supervised and now - self._told_step >= _STEP_EVERY_S:
            self._told_step = now
            self.send("step", step=step)

    def poll(self, *, at_once: bool = False) -> Optional[Notice]:
        """Return a notice from the supervisor, or that it is gone. Looks a few times a second."""
        now = time.monotonic()
        if self._socket is None or not (at_once or now - self._polled >= _POLL_EVERY_S):
            return None
        self._polled = now
        try:
            data = self._socket.recv(65536, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            data = b""
        if not data:
            self.close()
            return Notice("supervisor-gone")
        self._received += data
        return self._take_notice()

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take_notice(self) -> Optional[Notice]:
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            message: Dict[str, Dict[str, object]] = json.loads(line)
            notice = message.get("notice")
            if notice is not None:
                deadline = notice.get("deadline")
                when = None if deadline is None else float(str(deadline))
                return Notice(str(notice.get("reason")), when)
        return None


def _open(number: Optional[str]) -> Optional[socket.socket]:
    if number is None or not number.isdigit():
        return None
    try:
        if not stat.S_ISSOCK(os.fstat(int(number)).st_mode):
            return None
        channel = socket.socket(fileno=int(number))
    except OSError:
        return None
    if channel.family != socket.AF_UNIX:
        # A launcher has closed the line, and the number is now a connection of somebody else's.
        channel.detach()
        return None
    channel.set_inheritable(False)
    return channel


def _append(path: str, line: bytes) -> None:
    fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def say(text: str) -> None:
    """Tell the person: one line on stderr, which is the job's log."""
    print(f"perdure: {text}", file=sys.stderr, flush=True)
