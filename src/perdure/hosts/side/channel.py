"""A side, opened over a pipe of bytes: ssh, `docker exec -i` or whatever else carries one.

The other end has to have a Python 3.9 or newer; perdure's own modules come over the pipe.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO, cast

from perdure.errors import HostUnreachable, NoPython, PerdureError
from perdure.hosts.local import kill_group, spawn_piped, wait_for
from perdure.hosts.side import modules
from perdure.hosts.side.frames import read_frame, unpack

# How a Python that is too old, or missing, makes itself known.
OLD, NONE = 42, 127
_OPEN_S = 60.0
_LAST_S = 5.0
_KEPT_BYTES = 1 << 16

# Run by the shell at the other end: no newline and no exclamation mark in it, whatever shell it is.
_BOOT = (
    f"import sys; sys.version_info < (3, 9) and sys.exit({OLD}); r = sys.stdin.buffer; "
    'exec(compile(r.read(int(r.readline())), "perdure", "exec"))'
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


class Channel:
    """A side that has said that it is ready: a process of this machine, and its two pipes."""

    def __init__(self, argv: Sequence[str], explain: Callable[[int, str], PerdureError]) -> None:
        self._process = spawn_piped(argv, feeding=True)
        self._explain = explain
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self.reader = cast(BinaryIO, self._process.stdout)
        self.writer = cast(BinaryIO, self._process.stdin)
        try:
            self._send_modules()
            self._await_ready()
        except BaseException:
            self.close()
            raise

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
            return read_frame(self.reader)
        except (OSError, EOFError, ValueError):
            return None

    def close(self) -> None:
        """End it: the side ends with its input."""
        kill_group(self._process.pid)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue

    def _send_modules(self) -> None:
        loader, archive = _LOADER.encode(), modules.archive()
        try:
            self.send(b"%d\n%s%d\n%s" % (len(loader), loader, len(archive), archive))
        except OSError as error:
            raise self._failure() from error

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _OPEN_S
        ready, _, _ = select.select([self.reader], [], [], max(0.0, deadline - time.monotonic()))
        frame = self.receive() if ready else None
        if frame is None or unpack(*frame).get("is") != "ready":
            raise self._failure()

    def _failure(self) -> PerdureError:
        """Return why it did not open, by its exit code and its last words."""
        code = wait_for(self._process, _LAST_S)
        if code is None:
            return HostUnreachable("the other end says nothing that is understood")
        assert self._process.stderr is not None
        said = os.read(self._process.stderr.fileno(), _KEPT_BYTES).decode("utf-8", "replace")
        if code in (OLD, NONE):
            return NoPython("there is no Python 3.9 or newer there", hint="install python3 there")
        return self._explain(code, said)
