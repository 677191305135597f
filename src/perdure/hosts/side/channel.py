"""A side, opened over a pipe of bytes: ssh, `docker exec -i` or whatever else carries one.

The other end has to have a Python 3.9 or newer; perdure's own modules come over the pipe, once that
Python has said that it is there: a login shell that goes its own way is sent nothing to run.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from perdure.errors import HostUnreachable, NoPython, PerdureError
from perdure.hosts.local import kill_group, spawn_piped, wait_for
from perdure.hosts.side import modules
from perdure.hosts.side.frames import LARGEST_PIECE, read_frame, unpack

if TYPE_CHECKING:
    import subprocess

# How a Python that is too old, or missing, makes itself known; how ssh says that it failed itself.
OLD, NONE, FAILED = 42, 127, 255
_OPEN_S = 60.0
_LAST_S, _SPARE_S = 5.0, 0.1
_KEPT_BYTES = 1 << 16
_OLDEST = (3, 9)
_NEWEST_MINOR = 15
# Comes before anything else of ours: what a login shell prints ahead of it is skipped.
_MARK = b"perdure: here\n"

# Run by the shell at the other end: no newline, quote of one stroke, backslash or exclamation mark
# in it, whatever shell it is.
_BOOT = (
    f"import sys; sys.version_info < {_OLDEST} and sys.exit({OLD}); "
    "import dataclasses, json, zipfile, zlib; "
    f'print("{_MARK.decode().strip()}", flush=True); r = sys.stdin.buffer; '
    'exec(compile(r.read(int(r.readline())), "perdure", "exec"))'
)
# Where `python3` is none that is new enough: one with its version in its name, or where those who
# install their own have it.
_SEARCH = (
    "PATH=$PATH:/usr/local/bin:/usr/bin:/opt/homebrew/bin:$HOME/.local/bin:"
    "$HOME/miniconda3/bin:$HOME/miniforge3/bin:$HOME/anaconda3/bin; "
    "for p in {names}; do "
    '$p -I -c "import sys, json, zipfile, zlib; sys.exit(sys.version_info < {oldest})" '
    '</dev/null >/dev/null 2>&1 && exec $p "$@"; done; exit {none}'
)
# Run there first: perdure's modules come from the zip that follows. slots=True is of Python 3.10.
_LOADER = """
import importlib.abc, importlib.util, io, sys, zipfile
class Streamed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self, data):
        self.zip = zipfile.ZipFile(io.BytesIO(data))
        self.names = set(self.zip.namelist())
    def path(self, name):
        base = name.replace(".", "/")
        return next((p for p in (base + ".py", base + "/__init__.py") if p in self.names), None)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "perdure" or self.path(name) is None:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=self.is_package(name))
    def is_package(self, name):
        return self.path(name).endswith("__init__.py")
    def get_source(self, name):
        return self.zip.read(self.path(name)).decode()
    def get_filename(self, name):
        return "streamed/" + self.path(name)
if sys.version_info < (3, 10):
    import dataclasses
    def dataclass(cls=None, *, plain=dataclasses.dataclass, slots=False, kw_only=False, **options):
        return plain(cls, **options) if cls else lambda found: plain(found, **options)
    dataclasses.dataclass = dataclass
size = int(r.readline())
data = r.read(size)
if len(data) < size:
    sys.exit(0)
sys.meta_path.insert(0, Streamed(data))
from perdure.hosts.side.program import main
main(r)
"""


def boot_words(python: str = "python3") -> tuple[str, ...]:
    """Return the command that is to be run at the other end."""
    return (python, "-I", "-c", _BOOT)


def search_words() -> tuple[str, ...]:
    """Return the command that finds a Python first, for where `python3` is none for us."""
    versions = range(_NEWEST_MINOR, _OLDEST[1] - 1, -1)
    names = " ".join(["python3", "/usr/bin/python3", *(f"python3.{each}" for each in versions)])
    search = _SEARCH.format(names=names, oldest=_OLDEST, none=NONE)
    return ("sh", "-c", search, "sh", "-I", "-c", _BOOT)


class Channel:
    """A side that has said that it is ready: a process of this machine, and its two pipes."""

    def __init__(
        self,
        argv: Sequence[str],
        explain: Callable[[int, str], PerdureError],
        *,
        open_s: float = _OPEN_S,
    ) -> None:
        self._process = spawn_piped(argv, feeding=True)
        self._explain = explain
        self._deadline = time.monotonic() + open_s
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self.reader = cast(BinaryIO, self._process.stdout)
        self.writer = cast(BinaryIO, self._process.stdin)
        self._said = _Said(self._process)
        # Writing has no limit of its own: an end that never reads is ended.
        limit = threading.Timer(open_s, self.end)
        limit.daemon = True
        limit.start()
        try:
            self._await_mark()
            self._send_modules()
            self._await_ready()
        except BaseException:
            self.close()
            raise
        finally:
            limit.cancel()

    def send(self, frame: bytes) -> None:
        """Write a frame.

        Raises:
            OSError: the other end is gone.
        """
        self.writer.write(frame)
        self.writer.flush()

    def receive(self) -> tuple[bytes, bytes] | None:
        """Return the next frame, None once there can be no other."""
        try:
            return read_frame(self.reader, LARGEST_PIECE)
        except (OSError, EOFError, ValueError):
            return None

    def end(self) -> None:
        """Kill what carries it: whoever reads has the end of it."""
        kill_group(self._process.pid)

    def close(self) -> None:
        """End it: the side ends with its input."""
        self.end()
        self._process.wait()
        self._said.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue

    def _await_mark(self) -> None:
        """Skip what is printed ahead of the mark, and take no byte of what follows it."""
        seen = bytearray()
        while not seen.endswith(_MARK):
            if not self._is_readable() or len(seen) > _KEPT_BYTES:
                raise HostUnreachable(
                    "its login shell does not run what it is given",
                    hint="what there ~/.bashrc or the like does (`exec`, `read`, a menu) is for "
                    "terminals only: put it behind [ -t 0 ]",
                )
            byte = os.read(self.reader.fileno(), 1)
            if not byte:
                raise self._failure(is_python=False)
            seen += byte

    def _is_readable(self) -> bool:
        # A little less than until it is ended, so that this is what is told.
        left = max(0.0, self._deadline - _SPARE_S - time.monotonic())
        return bool(select.select([self.reader], [], [], left)[0])

    def _send_modules(self) -> None:
        loader, archive = _LOADER.encode(), modules.archive()
        try:
            self.send(b"%d\n%s%d\n%s" % (len(loader), loader, len(archive), archive))
        except OSError as error:
            raise self._failure(is_python=True) from error

    def _await_ready(self) -> None:
        # Nothing is buffered: the mark was read byte by byte.
        frame = self.receive() if self._is_readable() else None
        try:
            is_ready = frame is not None and unpack(*frame).get("is") == "ready"
        except (ValueError, AttributeError):
            is_ready = False
        if not is_ready:
            raise self._failure(is_python=True)

    def _failure(self, *, is_python: bool) -> PerdureError:
        """Return why it did not open, by its exit code and its last words."""
        code = wait_for(self._process, _LAST_S)
        if code is None or code < 0:
            return HostUnreachable("the other end says nothing that is understood")
        said = self._said.text()
        # A command there that was killed ends ssh in the same way, but silently.
        if is_python or (code == FAILED and said.strip()):
            return self._explain(code, said)
        last = said.strip().rpartition("\n")[2]
        hint = "install python3 there" if code in (OLD, NONE) or not last else f"it said: {last}"
        return NoPython("there is no Python 3.9 or newer there", hint=hint)


class _Said:
    """The last of what comes on standard error: read always, or a full pipe would stop it all."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._pipe = process.stderr
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        self._thread.join(1.0)
        return bytes(self._kept).decode("utf-8", "replace")

    def close(self) -> None:
        # Closed by whoever reads it: a master of ssh may hold it open for longer.
        self._thread.join(0.05)

    def _read(self) -> None:
        with self._pipe:
            while block := os.read(self._pipe.fileno(), _KEPT_BYTES):
                self._kept += block
                del self._kept[:-_KEPT_BYTES]
