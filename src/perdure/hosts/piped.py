"""A running command as a stream: what it writes is read, or what it reads is written, by pieces.

For amounts that no memory should hold: an image on its way from one engine to another. There is no
limit to how long it may take as a whole, only to how long nothing may move.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING

from perdure.errors import TimeoutExpired
from perdure.hosts.local import Completed, kill_group, spawn_piped

if TYPE_CHECKING:
    import subprocess

_READ_BYTES = 1 << 20
# What is kept of an output that nobody reads: enough for any complaint.
_KEPT_BYTES = 1 << 18
_POLL_S = 0.01


class Piped:
    """One end of a running command. Made by `reading` and `feeding`."""

    def __init__(
        self, process: subprocess.Popen[bytes], argv: Sequence[str], stall_s: float
    ) -> None:
        self._process = process
        self._argv = tuple(argv)
        self._stall_s = stall_s
        self._said = {"out": bytearray(), "err": bytearray()}
        self._collectors = [self._collect("err", process.stderr)]
        if process.stdin is not None:
            self._collectors.append(self._collect("out", process.stdout))
            os.set_blocking(process.stdin.fileno(), False)

    def read(self, count: int = _READ_BYTES) -> bytes:
        """Return the next bytes it wrote, `count` of them at most; b"" at the end.

        Raises:
            TimeoutExpired: it wrote nothing for too long.
        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        self._wait([descriptor], [])
        return os.read(descriptor, min(count, _READ_BYTES))

    def write(self, data: bytes) -> int:
        """Hand it bytes, all of them, and return how many.

        Raises:
            BrokenPipeError: it reads no more; `finish` says why.
            TimeoutExpired: it read nothing for too long.
        """
        assert self._process.stdin is not None
        left, descriptor = memoryview(data), self._process.stdin.fileno()
        while left:
            self._wait([], [descriptor])
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(descriptor, left) :]
        return len(data)

    def finish(self, timeout_s: float) -> Completed:
        """Return how it ended, once its input is closed; what was read is not in there.

        Raises:
            TimeoutExpired: it did not end in time.
        """
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        deadline = time.monotonic() + timeout_s
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutExpired(f"`{' '.join(self._argv)}` did not end within {timeout_s:g} s")
            time.sleep(_POLL_S)
        for collector in self._collectors:
            collector.join(1.0)
        return Completed(self._argv, code, bytes(self._said["out"]), bytes(self._said["err"]))

    def kill(self) -> None:
        """Kill it; from any thread. Whoever reads comes to the end, and whoever writes too."""
        if self._process.poll() is None:
            kill_group(self._process.pid)

    def close(self) -> None:
        """Kill it if it still runs, and close its pipes."""
        if self._process.poll() is None:
            kill_group(self._process.pid)
            self._process.wait()
        for collector in self._collectors:
            collector.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _wait(self, reading: list[int], writing: list[int]) -> None:
        ready = select.select(reading, writing, [], self._stall_s)
        if not (ready[0] or ready[1]):
            raise TimeoutExpired(f"`{' '.join(self._argv)}` stood still for {self._stall_s:g} s")

    def _collect(self, name: str, pipe: IO[bytes] | None) -> threading.Thread:
        assert pipe is not None
        thread = threading.Thread(
            target=_drain, args=(pipe.fileno(), self._said[name]), name=f"drain-{name}", daemon=True
        )
        thread.start()
        return thread


@contextlib.contextmanager
def reading(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, stall_s: float
) -> Iterator[Piped]:
    """Yield a command whose standard output is read; it is killed if it runs at the end.

    Raises:
        MissingProgram: there is no such program.
    """
    yield from _open(argv, env, stall_s, feeding=False)


@contextlib.contextmanager
def feeding(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, stall_s: float
) -> Iterator[Piped]:
    """Yield a command whose standard input is written; it is killed if it runs at the end.

    Raises:
        MissingProgram: there is no such program.
    """
    yield from _open(argv, env, stall_s, feeding=True)


def _open(
    argv: Sequence[str], env: Mapping[str, str] | None, stall_s: float, *, feeding: bool
) -> Iterator[Piped]:
    piped = Piped(spawn_piped(argv, env=env, feeding=feeding), argv, stall_s)
    try:
        yield piped
    finally:
        piped.close()


def _drain(descriptor: int, said: bytearray) -> None:
    """Read to the end, and keep the last of it."""
    with contextlib.suppress(OSError):
        while data := os.read(descriptor, 1 << 16):
            said += data
            del said[:-_KEPT_BYTES]
