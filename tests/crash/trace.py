"""What a program did to its files, in order, as strace saw it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = "%file,write,pwrite64,pwritev,pwritev2,fsync,fdatasync,ftruncate,mkdirat,renameat2"
HEX = re.compile(r"\\x([0-9a-f]{2})")
LINE = re.compile(r"^(\d+) +(.*)$")
CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?)(.*)$", re.DOTALL)
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
DESCRIPTOR = re.compile(r"^(?:AT_FDCWD|\d+)<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Operation:
    """One change: `kind` is mkdir, create, write, truncate, rename, remove or sync.

    `began` counts the operations that were over when this one began: what a sync makes durable.
    """

    kind: str
    path: str
    began: int
    other: str = ""
    offset: int = -1
    data: bytes = b""


def record(argv: Sequence[str], log: Path, environment: dict[str, str]) -> int:
    """Run a program under strace; return its exit code."""
    strace = ["strace", "-f", "-y", "-xx", "-s", "2000000", "-o", str(log), "-e", f"trace={CALLS}"]
    done = subprocess.run([*strace, *argv], env=environment, check=False, timeout=100)
    return done.returncode


def operations(log: Path, root: Path) -> list[Operation]:
    """Return what the traced program did below `root`; paths are relative to it."""
    parser = _Parser(str(root))
    for line in log.read_text().splitlines():
        parser.line(line)
    return parser.found


def plain(text: str) -> str:
    """Return text as it was before strace wrote it in hexadecimal."""
    return HEX.sub(lambda match: chr(int(match[1], 16)), text)


class _Parser:
    def __init__(self, root: str) -> None:
        self.found: list[Operation] = []
        self._root = root
        self._sizes: dict[str, int] = {}
        self._begun: dict[str, tuple[str, int]] = {}

    def line(self, line: str) -> None:
        match = LINE.match(line)
        if match is None:
            return
        process, text = match[1], match[2]
        began = len(self.found)
        if text.endswith("<unfinished ...>"):
            self._begun[process] = (text.removesuffix("<unfinished ...>").rstrip(), began)
            return
        if text.startswith("<... "):
            start, began = self._begun.pop(process)
            text = start + text.partition("resumed>")[2]
        call = CALL.match(text)
        if call is None or call[3] == "?" or int(call[3]) < 0:
            return
        handler = getattr(self, f"_{call[1]}", None)
        if handler is not None:
            for operation in handler(call[2], int(call[3]), began):
                self._apply(operation)

    def _apply(self, operation: Operation) -> None:
        if operation.kind == "write":
            end = operation.offset + len(operation.data)
            self._sizes[operation.path] = max(end, self._sizes.get(operation.path, 0))
        elif operation.kind == "create":
            self._sizes[operation.path] = 0
        self.found.append(operation)

    def _inside(self, path: str) -> str | None:
        if path == self._root:
            return ""
        return path.removeprefix(self._root + "/") if path.startswith(self._root + "/") else None

    def _of_descriptor(self, text: str) -> str | None:
        match = DESCRIPTOR.match(text)
        return None if match is None else self._inside(plain(match[1]))

    def _paths(self, text: str) -> list[str]:
        """Return the paths among the arguments, each taken from the folder before it."""
        found = []
        for match in re.finditer(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"', text):
            name, base = plain(match[2]), plain(match[1] or "")
            path = self._inside(name if name.startswith("/") else f"{base}/{name}")
            found.append("" if path is None else path)
        return found

    def _openat(self, text: str, _: int, began: int) -> Iterator[Operation]:
        path = self._paths(text)[0]
        if not path or "O_CREAT" not in text:
            return
        if path not in self._sizes:
            yield Operation("create", path, began)
        elif "O_TRUNC" in text:
            yield Operation("truncate", path, began, offset=0)

    def _mkdir(self, text: str, _: int, began: int) -> Iterator[Operation]:
        path = self._paths(text)[0]
        if path:
            yield Operation("mkdir", path, began)

    def _rename(self, text: str, _: int, began: int) -> Iterator[Operation]:
        old, new = self._paths(text)
        if not old:
            return
        for path in [path for path in self._sizes if path.startswith(old + "/") or path == old]:
            self._sizes[new + path.removeprefix(old)] = self._sizes.pop(path)
        yield Operation("rename", old, began, other=new)

    def _unlink(self, text: str, _: int, began: int) -> Iterator[Operation]:
        path = self._paths(text)[0]
        if path:
            self._sizes.pop(path, None)
            yield Operation("remove", path, began)

    _mkdirat, _unlinkat, _rmdir, _renameat, _renameat2 = _mkdir, _unlink, _unlink, _rename, _rename

    def _write(self, text: str, size: int, began: int) -> Iterator[Operation]:
        """A write where the file ends: files here are only appended to, or written at offsets."""
        path = self._of_descriptor(text)
        if path:
            yield self._written(path, text, size, (self._sizes[path], began))

    def _pwritev(self, text: str, size: int, began: int) -> Iterator[Operation]:
        path = self._of_descriptor(text)
        if path:
            offset = int(re.findall(r"\], \d+, (\d+)", text)[0])
            yield self._written(path, text, size, (offset, began))

    _pwritev2 = _pwritev

    def _pwrite64(self, text: str, size: int, began: int) -> Iterator[Operation]:
        path = self._of_descriptor(text)
        if path:
            yield self._written(path, text, size, (int(text.rpartition(", ")[2]), began))

    def _written(self, path: str, text: str, size: int, place: tuple[int, int]) -> Operation:
        data = bytes.fromhex("".join(STRING.findall(text)).replace("\\x", ""))[:size]
        if len(data) != size:
            raise ValueError(f"strace shows {len(data)} of {size} bytes written to {path}")
        return Operation("write", path, place[1], offset=place[0], data=data)

    def _ftruncate(self, text: str, _: int, began: int) -> Iterator[Operation]:
        path = self._of_descriptor(text)
        if path:
            size = int(text.rpartition(", ")[2])
            self._sizes[path] = size
            yield Operation("truncate", path, began, offset=size)

    def _fsync(self, text: str, _: int, began: int) -> Iterator[Operation]:
        path = self._of_descriptor(text)
        if path is not None:
            yield Operation("sync", path, began)

    _fdatasync = _fsync
