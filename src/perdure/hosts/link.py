"""A call to a host, over the connection that a process of this machine keeps warm.

`perdure.hosts.link_keeper` is that process: one for each host, user and version, started by the
first call, gone ten minutes after the last one. It serves a unix socket that only this user opens.
"""

from __future__ import annotations

import _socket
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from zlib import crc32

from perdure import errors
from perdure.errors import (
    EngineUnreachable,
    HostUnreachable,
    MissingProgram,
    PerdureError,
    TimeoutExpired,
)
from perdure.hosts.side import modules
from perdure.hosts.side.frames import Assembly, pack, read_frame, unpack
from perdure.hosts.ssh_folder import control_folder

if TYPE_CHECKING:
    from perdure.hosts import local
    from perdure.hosts.reaching import Linked

# Longer than the channel takes to give up, so that it can say why.
_START_S = 75.0
_POLL_S = 0.01
# A question is small: a link that does not take it at once is no link.
_SEND_S = 1.0
_BLOCK = 1 << 20
_TRIES = 3
# For how long another process may be connecting: a person may be typing a password there.
_TURN_S = 120.0


def ask(
    host: Linked,
    function: Callable[..., Any],
    arguments: Sequence[object],
    named: Mapping[str, object],
    timeout_s: float,
    on_line: local.LineCallback | None = None,
) -> Any:  # noqa: ANN401 - whatever the function returns
    """Return what a function returns there.

    Raises:
        HostUnreachable: the host does not answer, or the connection was lost meanwhile.
        NoPython: there is no Python there that could do it.
        TimeoutExpired: there is no answer in time.
        Others: as the function.
    """
    asked = _asked(function, arguments, named, tells=on_line is not None)
    for _ in range(_TRIES):
        with _connected(host, timeout_s) as stream, contextlib.suppress(_Unsent):
            _hand_over(stream, asked, host)
            return _heard(stream, host, timeout_s, on_line)
    raise _lost(host)


class Question:
    """A call on its way over a link that was there: nobody waits before `answer` is called."""

    def __init__(self, stream: _Stream, host: Linked) -> None:
        self._stream = stream
        self._host = host

    def answer(self, timeout_s: float) -> Any:  # noqa: ANN401 - whatever the function returns
        """Return what the function returns there; once. Raises as `ask`."""
        stream = cast(BinaryIO, self._stream)
        with contextlib.closing(self._stream):
            self._stream.wait_at_most(timeout_s)
            try:
                _confirm(stream, self._host)
                return _heard(stream, self._host, timeout_s, None)
            except _Unsent as error:
                raise _lost(self._host) from error


def question(
    host: Linked, function: Callable[..., Any], arguments: Sequence[object]
) -> Question | None:
    """Return a call that was sent over a link that is there, None where there is none."""
    stream = _open(socket_path(host))
    if stream is None:
        return None
    try:
        stream.wait_at_most(_SEND_S)
        stream.write(pack(_asked(function, arguments, {}, tells=False)))
    except OSError:
        stream.close()
        return None
    return Question(stream, host)


class _Unsent(Exception):
    """The call has not gone out, and may be made over another link."""


def _asked(
    function: Callable[..., Any],
    arguments: Sequence[object],
    named: Mapping[str, object],
    *,
    tells: bool,
) -> dict[str, object]:
    return {
        "number": 1,
        "function": f"{function.__module__}:{function.__qualname__}",
        "arguments": list(arguments),
        "named": dict(named),
        "tells": tells,
    }


def _heard(
    stream: BinaryIO, host: Linked, timeout_s: float, on_line: local.LineCallback | None
) -> Any:  # noqa: ANN401 - whatever the function returns
    whole = Assembly()
    while True:
        with _losing(host, timeout_s):
            frame = read_frame(stream)
            answer = _lost_answer() if frame is None else whole.add(unpack(*frame))
        if answer is None:
            continue
        if "value" in answer:
            return answer["value"]
        if "unsent" in answer:
            raise _Unsent
        if "line" not in answer:
            with _losing(host, timeout_s):
                error = _error_of(answer, host)
            raise error
        if on_line is not None:
            on_line(str(answer["line"]))


def _hand_over(stream: BinaryIO, asked: Mapping[str, object], host: Linked) -> None:
    """Return once the link has taken the call: until then, no other end has seen it."""
    try:
        stream.write(pack(asked))
        stream.flush()
    except TimeoutError as error:
        raise TimeoutExpired(f"the link to `{host.name}` does not answer") from error
    except OSError as error:
        raise _Unsent from error
    _confirm(stream, host)


def _confirm(stream: BinaryIO, host: Linked) -> None:
    """Return once the link says that it has taken the call."""
    try:
        frame = read_frame(stream)
    except TimeoutError as error:
        raise TimeoutExpired(f"the link to `{host.name}` does not answer") from error
    except (OSError, EOFError, ValueError) as error:
        raise _Unsent from error
    if frame is None or "taken" not in unpack(*frame):
        raise _Unsent


def _lost_answer() -> dict[str, object]:
    return {"lost": True}


@contextlib.contextmanager
def _losing(host: Linked, timeout_s: float) -> Iterator[None]:
    """Turn the errors of the connection, and only those, into ours."""
    try:
        yield
    except TimeoutError as error:
        raise TimeoutExpired(f"`{host.name}` did not answer within {timeout_s:g} s") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise _lost(host) from error


def _error_of(answer: Mapping[str, Any], host: Linked) -> Exception:
    if "error" in answer:
        return _placed(revived(answer["error"]), host)
    if "failed" in answer:
        number, words, name = answer["failed"]
        return OSError(int(number or 0), str(words), str(name) or None)
    if "lost" in answer:
        return _lost(host)
    return PerdureError(f"perdure failed on `{host.name}`", hint=str(answer.get("crashed")))


def _placed(error: PerdureError, host: Linked) -> PerdureError:
    """Return the error with its host, where it speaks of what this machine may have as well."""
    if not isinstance(error, EngineUnreachable):
        return error
    from perdure.hosts.engine_socket import LOCAL

    # What is advised on one's own machine is to leave it as it is here.
    hint = (error.hint or "").replace(LOCAL, '`engine = "process"` for this target')
    return EngineUnreachable(f"`{host.name}`: {error.message}", hint=hint or None)


def revived(described: object) -> PerdureError:
    """Return the error that was raised elsewhere, which is one of ours whatever is said there."""
    if not isinstance(described, dict):
        return PerdureError(str(described))
    kind: Any = getattr(errors, str(described.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, PerdureError)):
        kind = PerdureError
    message, hint = str(described.get("message")), described.get("hint")
    known = {"program": str(described.get("program"))} if kind is MissingProgram else {}
    return cast(PerdureError, kind(message, hint=None if hint is None else str(hint), **known))


def _lost(host: Linked) -> HostUnreachable:
    return HostUnreachable(f"the connection to `{host.name}` was lost", hint="try again")


class _Stream:
    """A connection to a link, as a file of bytes.

    Not of `socket`: that module takes longer to be imported than a host to answer.
    """

    def __init__(self, path: Path) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX)
        try:
            self._socket.connect(os.fspath(path))
        except OSError:
            self._socket.close()
            raise

    def wait_at_most(self, timeout_s: float) -> None:
        """Have what is read and written from now on take no longer."""
        self._socket.settimeout(timeout_s)

    def read(self, count: int) -> bytes:
        """Return so many bytes, fewer at the end."""
        whole = bytearray()
        while len(whole) < count and (found := self._socket.recv(min(count - len(whole), _BLOCK))):
            whole += found
        return bytes(whole)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        self._socket.sendall(data)

    def flush(self) -> None:
        """Return: nothing is kept back."""

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


@contextlib.contextmanager
def _connected(host: Linked, timeout_s: float) -> Iterator[BinaryIO]:
    stream = _stream_of(host)
    try:
        stream.wait_at_most(timeout_s)
        yield cast(BinaryIO, stream)
    finally:
        stream.close()


def _stream_of(host: Linked) -> _Stream:
    path = socket_path(host)
    found = _open(path)
    if found is not None:
        return found
    with _alone(host, path):
        return _open(path) or _start(host, path)


def socket_path(host: Linked) -> Path:
    """Return where the link to a host is served: other sources or another user, another link."""
    known = json.dumps([host.destination, modules.digest(), sys.executable]).encode()
    # A checksum is enough for a private folder, and hashlib costs more than the question.
    return control_folder() / f"{crc32(known):08x}{crc32(known[::-1]):08x}.l"


def _open(path: Path) -> _Stream | None:
    try:
        return _Stream(path)
    except OSError:
        return None


def _start(host: Linked, path: Path) -> _Stream:
    """Return a connection to a link that is started now. Starts a process."""
    from perdure.hosts import local

    host.connect()
    log = path.with_suffix(".log")
    log.unlink(missing_ok=True)
    # -P: a project's own `json.py` in the current folder is none of the keeper's.
    words = (sys.executable, "-P", "-m", "perdure.hosts.link_keeper", host.name, host.destination)
    pid = local.spawn_detached((*words, os.fspath(path)), log=log)
    deadline = time.monotonic() + _START_S
    while (found := _open(path)) is None:
        if local.exit_code_of(pid) is not None:
            raise _why(log, host)
        if time.monotonic() > deadline:
            local.kill_group(pid)
            raise HostUnreachable(f"no connection to `{host.name}` within {_START_S:g} s")
        time.sleep(_POLL_S)
    return found


def _why(log: Path, host: Linked) -> PerdureError:
    """Return why a link ended before it served: its last line says so."""
    try:
        last = (log.read_text(errors="replace").splitlines() or [""])[-1]
    except OSError:
        last = ""
    try:
        return revived(json.loads(last))
    except (ValueError, AttributeError, RecursionError):
        return HostUnreachable(f"the link to `{host.name}` does not start", hint=last or None)


@contextlib.contextmanager
def _alone(host: Linked, path: Path) -> Iterator[None]:
    """Let one process at a time start a link."""
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + (_TURN_S if host.asks else _TURN_S / 10)
    try:
        while not _locked(fd):
            if time.monotonic() > deadline:
                raise HostUnreachable(
                    f"another perdure is still connecting to `{host.name}`",
                    hint="does it ask for a password somewhere?",
                )
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
