"""This machine: run a command within a time limit, or start one that outlives this process.

The only module outside the runtime that starts processes. There is never a shell between: an
argument is handed over as it is.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from perdure.errors import MissingProgram, PerdureError, TimeoutExpired

LineCallback = Callable[[str], None]

_READ_BYTES = 1 << 16
# How often to look whether the command has ended while something it left behind holds its pipes.
_POLL_S = 0.05
# How long a killed command may take to be gone: SIGKILL is not refused, but a dying disk delays it.
_REAP_S = 5.0


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended: exit code (minus the signal's number if killed) and what it wrote."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Return standard output as text, without the space around it."""
        return self.stdout.decode("utf-8", "replace").strip()

    @property
    def complaint(self) -> str:
        """Return standard error as text, without the space around it."""
        return self.stderr.decode("utf-8", "replace").strip()


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: bytes | None = None,
    on_line: LineCallback | None = None,
) -> Completed:
    """Return how the command ended; any exit code is an answer, not an error.

    `env` is the whole environment (None: this process's own). `on_line` is handed each line of
    standard error as it comes. The command gets a session of its own, so that all of it can be
    killed; what it leaves running behind on purpose is not waited for.

    Raises:
        TimeoutExpired: it took longer than `timeout_s`; it was killed with all it had started.
        MissingProgram: there is no such program.
    """
    with _beginning:
        process = _start(argv, env, cwd, with_stdin=stdin is not None)
        _running[process.pid] = threading.get_ident()
    pipes = _Pipes(process, stdin or b"", on_line)
    try:
        if not pipes.drain(time.monotonic() + timeout_s):
            raise TimeoutExpired(
                f"`{' '.join(argv)}` did not end within {timeout_s:g} s", hint=pipes.last_line()
            )
    except BaseException:
        _kill_tree(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_REAP_S)
        raise
    finally:
        pipes.close()
        _running.pop(process.pid, None)
    return Completed(tuple(argv), process.wait(), bytes(pipes.stdout), bytes(pipes.stderr))


def run_attached(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> int:
    """Return the exit code of a command that has this terminal to itself until it ends.

    Ctrl-C is the command's own affair. The one call without a time limit: a person sits before it.
    What ends this call otherwise ends the command.
    """
    with _without_interrupts(), _naming_the_program(argv, cwd):
        process = subprocess.Popen(list(argv), env=env, cwd=cwd)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def spawn_detached(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    log: Path,
) -> int:
    """Return the process id of a command in a session of its own that survives this process.

    It reads nothing, and appends both its outputs to `log`.
    """
    with log.open("ab") as output, _naming_the_program(argv, cwd):
        process = subprocess.Popen(
            list(argv),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _detached[process.pid] = process
    # Waited for in the background, so that it leaves no zombie while this process lives.
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process.pid


def spawn_piped(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, feeding: bool
) -> subprocess.Popen[bytes]:
    """Return a running command with its outputs in pipes, and its input too where `feeding`.

    It has a session of its own. Whoever calls this waits for it or kills it: perdure.hosts.piped.
    """
    return _start(argv, env, None, with_stdin=feeding)


def wait_for(process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """Return the exit code of what `spawn_piped` started, None if it runs on after that time."""
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def end_piped(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """End what `spawn_piped` started and close its pipes; it has so long to end by itself, first.

    Then so long after SIGTERM, and after SIGKILL.
    """
    if wait_for(process, patience_s) is None:
        process.terminate()
        if wait_for(process, patience_s) is None:
            kill_group(process.pid)
            wait_for(process, patience_s)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def exit_code_of(pid: int) -> int | None:
    """Return the exit code of a process that `spawn_detached` started here, None while it runs."""
    process = _detached.get(pid)
    return process.returncode if process else None


def kill_group(pid: int) -> None:
    """Send SIGKILL to the process group that `pid` leads; none left is right too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_running(thread: int | None = None) -> None:
    """Kill every command that a `run` waits for, of one thread of this process or of them all.

    Of them all for one that ends now: from then on none begins.
    """
    if thread is None:
        # Held for good: what has begun is known by now.
        _beginning.acquire()
    for pid, owner in tuple(_running.items()):
        if thread in (None, owner):
            _kill_tree(pid)


def _kill_tree(pid: int) -> None:
    """Kill a command's group, and what it started that has one of its own: podman's containers."""
    from perdure.hosts.tree import descendants

    below = descendants(pid)
    kill_group(pid)
    for each in below:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


_detached: dict[int, subprocess.Popen[bytes]] = {}
_beginning = threading.Lock()
# By process id, the thread that waits for it.
_running: dict[int, int] = {}


def _start(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
    *,
    with_stdin: bool,
) -> subprocess.Popen[bytes]:
    with _naming_the_program(argv, cwd):
        return subprocess.Popen(
            list(argv),
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Take no notice of Ctrl-C, with a handler: a signal that is ignored stays so in a child."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _naming_the_program(argv: Sequence[str], cwd: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turn the errors of starting a process into ours."""
    try:
        yield
    except OSError as error:
        if cwd is not None and not Path(cwd).is_dir():
            raise PerdureError(
                f"cannot run `{argv[0]}` in `{cwd}`: there is no such folder"
            ) from error
        if isinstance(error, FileNotFoundError):
            raise MissingProgram(f"no program `{argv[0]}` was found", program=argv[0]) from error
        raise MissingProgram(
            f"cannot run `{argv[0]}`: {(error.strerror or str(error)).lower()}", program=argv[0]
        ) from error


class _Pipes:
    """The three pipes of a running command, served by one thread."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: bytes, on_line: LineCallback | None
    ) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._process = process
        self._stdin = memoryview(stdin)
        self._on_line = on_line
        self._told = 0
        self._selector = selectors.DefaultSelector()
        for pipe in (process.stdout, process.stderr):
            self._watch(pipe, selectors.EVENT_READ)
        self._watch(process.stdin, selectors.EVENT_WRITE)

    def drain(self, deadline: float) -> bool:
        """Serve the pipes until the command has ended; return False if the deadline came first."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return self._process.poll() is not None
            if not self._selector.get_map():
                return self._wait(left)
            # Asked before the pipes: nothing it wrote before it ended can then be overlooked.
            ended = self._process.poll() is not None
            ready = self._selector.select(min(left, _POLL_S))
            for key, _ in ready:
                self._serve(key)
            if ended and not ready:
                return True

    def close(self) -> None:
        """Close what is left open, and tell the last line if it had no end."""
        self._tell(last=True)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._selector.close()

    def last_line(self) -> str | None:
        """Return the last line of standard error, None where there is none."""
        lines = self.stderr.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), None)

    def _watch(self, pipe: IO[bytes] | None, events: int) -> None:
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, events)

    def _wait(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _serve(self, key: selectors.SelectorKey) -> None:
        if key.events & selectors.EVENT_WRITE:
            self._write(key)
            return
        data = os.read(key.fd, _READ_BYTES)
        if not data:
            self._selector.unregister(key.fileobj)
        elif key.fileobj is self._process.stdout:
            self.stdout += data
        else:
            self.stderr += data
            self._tell(last=False)

    def _write(self, key: selectors.SelectorKey) -> None:
        try:
            self._stdin = self._stdin[os.write(key.fd, self._stdin[:_READ_BYTES]) :]
        except BrokenPipeError:
            # It does not want the rest; its exit code says whether that was wrong.
            self._stdin = self._stdin[:0]
        if not self._stdin and self._process.stdin is not None:
            self._selector.unregister(key.fileobj)
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _tell(self, *, last: bool) -> None:
        if self._on_line is None:
            return
        fresh = bytes(self.stderr[self._told :]).replace(b"\r", b"\n")
        end = len(fresh) if last else fresh.rfind(b"\n") + 1
        self._told += end
        for line in fresh[:end].split(b"\n"):
            if line.strip():
                self._on_line(line.decode("utf-8", "replace").rstrip())
