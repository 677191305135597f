"""The way to the other end: a process of this machine whose pipes carry bytes there and back.

Any argument list does that begins a Python there with `boot_words`: ssh, `docker exec -i`,
`kubectl exec -i`, or that Python itself. The agent is streamed to it; nothing is installed.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import selectors
import time
import zlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from perdure.errors import HostUnreachable, NoPython, PerdureError
from perdure.hosts.local import kill_group, spawn_piped
from perdure.sync.far.frames import Assembler, Frame, Garbled, Header, head

# How a Python that is too old, or missing, makes itself known.
OLD, NONE = 42, 127
CONNECT_S = 60.0
STALL_S = 20.0
_MODULES = (
    "frames",
    "patterns",
    "tree",
    "renaming",
    "drafts",
    "folders",
    "landing",
    "pipe",
    "inotify",
    "watching",
    "agent",
)
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_KEPT_BYTES = 1 << 14
_LATE_S = 1.0
# Pieces written in one call: what any system takes (IOV_MAX).
_AT_ONCE = 512
_END_S = 2.0
_POLL_S = 0.002

# Run by the shell at the other end: one line, and no exclamation mark in it, whatever shell it is.
# What follows is read without a buffer, which would swallow the first frames.
_BOOT = (
    f"import os, sys, zlib; sys.version_info < (3, 8) and sys.exit({OLD}); "
    "take = lambda n, got=b'': got if len(got) == n else "
    "take(n, got + (os.read(0, n - len(got)) or sys.exit(1))); "
    "exec(zlib.decompress(take(int(take(8)))))"
)
_LOADER = """
import sys, types
for name, source in {sources}:
    module = types.ModuleType(name)
    module.__path__ = []
    sys.modules[name] = module
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules["perdure.sync.far.agent"].main()
"""


def boot_words(python: str = "python3") -> tuple[str, ...]:
    """Return the command to be run at the other end. Pure."""
    return (python, "-I", "-c", _BOOT)


class Lost(HostUnreachable):
    """The other end is gone, or was never reached."""


class Pace:
    """How long answers take, as TCP reckons it (RFC 6298).

    Whoever is at work says so oftener than once in `_LATE_S`: what takes longer, a network that was
    away has held back, and it would be wrong to be patient with the next one for that.
    """

    def __init__(self) -> None:
        self._mean_s = self._spread_s = 0.0
        self._known = False

    @property
    def limit_s(self) -> float:
        """Return what few answers take; 0: nothing is known yet."""
        return self._mean_s + 4 * self._spread_s

    def note(self, took_s: float) -> None:
        """Take in what an answer took."""
        took_s = min(took_s, _LATE_S)
        if not self._known:
            self._known, self._mean_s, self._spread_s = True, took_s, took_s / 2
            return
        self._spread_s += (abs(took_s - self._mean_s) - self._spread_s) / 4
        self._mean_s += (took_s - self._mean_s) / 8


class Channel:
    """Frames to and from an agent, in one thread; every wait has a limit.

    Nothing waits to write: what the other end does not take yet goes out while frames are received,
    so that two full pipes never wait for each other, and nobody for a network that is away.
    """

    def __init__(self, argv: Sequence[str], *, connect_s: float = CONNECT_S) -> None:
        self._process = spawn_piped(argv, feeding=True)
        self._argv = tuple(argv)
        self._assembler = Assembler(awaits_magic=True)
        self._frames: deque[Frame] = deque()
        self._said = bytearray()
        self._unsent: deque[memoryview] = deque()
        self._moved_at = time.monotonic()
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._prepare()
        self._connect_until = time.monotonic() + connect_s
        self._connected = False
        self.heard_at = time.monotonic()
        #: Since when the other end owes a word; None: it does not.
        self.asked_at: float | None = None
        self._pace = Pace()
        try:
            self._write(_payload())
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable when a frame may have come."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def writing(self) -> list[int]:
        """Return the descriptor that `receive` is to be called for once it can be written to."""
        assert self._process.stdin is not None
        return [self._process.stdin.fileno()] if self._unsent else []

    @property
    def pid(self) -> int:
        """Return the process that carries the bytes."""
        return self._process.pid

    @property
    def is_reached(self) -> bool:
        """Return whether the other end has begun to speak."""
        return self._assembler.is_greeted

    @property
    def usual_s(self) -> float:
        """Return how long the other end may well take to say a word that it owes."""
        return self._pace.limit_s

    def expect(self) -> None:
        """Know that the other end still owes a word, after what it has said."""
        if self.asked_at is None:
            self.asked_at = self.heard_at

    def send(self, header: Header, *blobs: bytes) -> None:
        """Write a frame, its blob in pieces; what finds no room is written while frames come in.

        Raises:
            Lost: the other end is gone, or takes nothing any more.
        """
        self._write(head(header, sum(map(len, blobs))), *blobs)

    def receive(self, timeout_s: float) -> Frame | None:
        """Return the next frame, None if none has come in time.

        Raises:
            Lost: there will be none.
            NoPython: there is no Python there that could run the agent.
        """
        deadline = time.monotonic() + timeout_s
        while not self._frames:
            left = deadline - time.monotonic()
            self._serve(max(0.0, left))
            if not self._frames and time.monotonic() >= deadline:
                self._check_connected()
                return None
        return self._frames.popleft()

    def close(self) -> None:
        """End it: the agent ends with its input, and the process is killed if it lingers."""
        stdin = self._process.stdin
        self._selector.close()
        if stdin is not None:
            try:
                stdin.close()
            except OSError:
                pass
        if self._exit_code(_END_S) is None:
            kill_group(self._process.pid)
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """End it at once, as a lost connection would."""
        kill_group(self._process.pid)

    def _prepare(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            _widen(pipe.fileno())
        self._selector.register(self.fileno(), selectors.EVENT_READ)
        assert self._process.stderr is not None
        self._selector.register(self._process.stderr.fileno(), selectors.EVENT_READ)

    def _write(self, *pieces: bytes) -> None:
        now = time.monotonic()
        if not self._unsent:
            self._moved_at = now
        if self.asked_at is None:
            self.asked_at = now
        self._unsent.extend(memoryview(piece) for piece in pieces if piece)
        self._write_on()

    def _write_on(self) -> None:
        """Write what there is room for."""
        assert self._process.stdin is not None
        fd = self._process.stdin.fileno()
        while self._unsent:
            try:
                written = os.writev(fd, tuple(itertools.islice(self._unsent, _AT_ONCE)))
            except BlockingIOError:
                break
            except OSError:
                raise self._failure() from None
            self._moved_at = time.monotonic()
            self._forget(written)
        if self._unsent and time.monotonic() - self._moved_at > STALL_S:
            raise Lost(f"the other end took nothing for {STALL_S:g} s")

    def _forget(self, written: int) -> None:
        """Keep what comes after so many bytes."""
        while written:
            first = self._unsent.popleft()
            if written < len(first):
                self._unsent.appendleft(first[written:])
            written -= min(written, len(first))

    def _serve(self, timeout_s: float) -> None:
        """Read what there is, and write what there is room for, once there is either."""
        if self._ended:
            raise self._failure()
        writing = self.writing()
        for fd in writing:
            self._selector.register(fd, selectors.EVENT_WRITE)
        try:
            ready = self._selector.select(timeout_s)
        finally:
            for fd in writing:
                self._selector.unregister(fd)
        for key, events in ready:
            if events & selectors.EVENT_READ:
                self._read(key.fd)
        if writing:
            self._write_on()

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        if fd != self.fileno():
            self._said += data
            del self._said[:-_KEPT_BYTES]
            if not data:
                self._selector.unregister(fd)
            return
        if not data:
            self._ended = True
            return
        self.heard_at = time.monotonic()
        if self.asked_at is not None and self.is_reached:
            self._pace.note(self.heard_at - self.asked_at)
        self.asked_at = None
        try:
            frames = self._assembler.feed(data)
        except Garbled as error:
            raise Lost(f"the connection carries something else: {error}") from error
        self._connected = self._connected or bool(frames)
        self._frames.extend(frames)

    def _check_connected(self) -> None:
        if not self._connected and time.monotonic() > self._connect_until:
            raise Lost("the other end did not answer in time")

    def _exit_code(self, timeout_s: float) -> int | None:
        """Return how the process ended, None if it does not end in time."""
        deadline = time.monotonic() + timeout_s
        while (code := self._process.poll()) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return code

    def _failure(self) -> PerdureError:
        """Return why it ended, by its exit code and its last words."""
        code = self._exit_code(_END_S)
        assert self._process.stderr is not None
        try:
            self._said += os.read(self._process.stderr.fileno(), _KEPT_BYTES)
        except OSError:
            pass
        if code in (OLD, NONE) and not self._connected:
            return NoPython("there is no Python 3.8 or newer there", hint="install python3 there")
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        return Lost("the connection was lost" + (f": {lines[-1].strip()}" if lines else ""))


@functools.cache
def _payload() -> bytes:
    """Return what the other end reads first: the agent's sources, and how they are loaded."""
    folder = Path(__file__).parent / "far"
    names = ("perdure", "perdure.sync", "perdure.sync.far")
    sources = [(name, "") for name in names]
    for module in _MODULES:
        text = (folder / f"{module}.py").read_text(encoding="utf-8")
        sources.append((f"perdure.sync.far.{module}", text))
    program = zlib.compress(_LOADER.format(sources=json.dumps(sources)).encode(), 9)
    return b"%8d%s" % (len(program), program)


def _widen(fd: int) -> None:
    """Let a pipe hold more, where the system can: fewer switches between processes."""
    import fcntl

    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (AttributeError, OSError):
        return
