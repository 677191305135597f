"""Files moved as an archive over the channel, where one side lacks rsync: resumable by file.

The archive is POSIX.1-2001 (pax), which keeps any name and times to the nanosecond.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

from perdure.errors import PerdureError
from perdure.hosts import piped
from perdure.hosts.local import Completed
from perdure.hosts.piped import Piped
from perdure.moving import far, scripts
from perdure.moving.entry import Entry
from perdure.moving.far import Place
from perdure.moving.known import Stamp

STALL_S = 300.0
END_S = 300.0
# GNU tar's: a file changed while it was read.
_CHANGED = 1


def push(place: Place, near: Path, files: Mapping[str, Entry], tell: Callable[[int], None]) -> int:
    """Return the bytes that went to the staging folder there. Starts processes.

    What cannot be read, or is gone, is left out: it does not arrive, and is missed later.

    Raises:
        HostUnreachable: the connection was lost; what arrived whole is kept.
        StorageError: the disk there refuses.
    """
    argv = place.host.command(["sh", "-c", scripts.UNPACK, "sh", place.staging])
    with piped.feeding(argv, stall_s=STALL_S) as process:
        out = _Counted(process, tell)
        with contextlib.suppress(BrokenPipeError):
            _pack(out, near, files)
        done = process.finish(END_S)
    if done.returncode != 0:
        raise _failure(place, done)
    return out.bytes


def pull(
    place: Place, staging: Path, files: Mapping[str, Entry], tell: Callable[[int], None]
) -> int:
    """Return the bytes that came into the staging folder here. Starts processes.

    Raises:
        HostUnreachable: the connection was lost; what arrived whole is kept.
        StorageError: the disk here refuses.
    """
    kept = f"{place.staging}.list"
    place.must("cannot list", scripts.KEEP_LIST, kept, stdin=far.listed(sorted(files)))
    argv = place.host.command(["sh", "-c", scripts.PACK, "sh", place.folder, kept])
    total = 0
    with piped.reading(argv, stall_s=STALL_S) as process:
        # One that breaks off is whole up to there; how the process ended says why.
        with contextlib.suppress(tarfile.ReadError, EOFError):
            for size in _unpack(_Readable(process), staging, files):
                total += size
                tell(total)
        while process.read():
            pass
        done = process.finish(END_S)
    if done.returncode not in (0, _CHANGED, 2):
        raise _failure(place, done)
    return total


def is_whole(found: Stamp | None, entry: Entry) -> bool:
    """Return whether a staged file is the one that is to be moved: the archive sets times last."""
    return found == entry.stamp


def _pack(out: _Counted, near: Path, files: Mapping[str, Entry]) -> None:
    stream = cast("IO[bytes]", out)
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in sorted(files.items()):
            _add(archive, near, path, entry)


def _unpack(source: _Readable, staging: Path, files: Mapping[str, Entry]) -> Iterator[int]:
    """Yield the size of each file once it is unpacked: only of those that were asked for."""
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|") as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            if path in files and member.isreg():
                yield _extract(archive, member, staging / path)


def _add(archive: tarfile.TarFile, near: Path, path: str, entry: Entry) -> None:
    try:
        with (near / path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            member = tarfile.TarInfo(f"./{path}")
            member.size, member.mode = size, entry.mode
            seconds, rest = divmod(entry.mtime_ns, 10**9)
            member.mtime = seconds
            # As text: a float does not hold nanoseconds.
            member.pax_headers = {"mtime": f"{seconds}.{rest:09d}"}
            archive.addfile(member, cast("IO[bytes]", _Padded(file, size)))
    except (FileNotFoundError, PermissionError):
        return


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> int:
    source = archive.extractfile(member)
    assert source is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while data := source.read(1 << 20):
            file.write(data)
    target.chmod(member.mode & 0o777)
    changed = _nanoseconds(member)
    os.utime(target, ns=(changed, changed))
    return member.size


def _nanoseconds(member: tarfile.TarInfo) -> int:
    seconds, _, fraction = member.pax_headers.get("mtime", str(int(member.mtime))).partition(".")
    return int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))


def _failure(place: Place, done: Completed) -> PerdureError:
    if far.is_loss(done):
        return far.loss(place.host, done.complaint)
    return far.refusal(place.host.name, "files cannot be moved", done.complaint)


class _Padded:
    """A file that gives exactly `size` bytes: zeros where it shrank meanwhile, which is noticed."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes."""
        wanted = self._left if count < 0 else min(count, self._left)
        data = self._file.read(wanted)
        data += b"\0" * (wanted - len(data))
        self._left -= wanted
        return data


class _Counted:
    """What the archive is written to."""

    def __init__(self, process: Piped, tell: Callable[[int], None]) -> None:
        self.bytes = 0
        self._process = process
        self._tell = tell

    def write(self, data: bytes) -> int:
        """Hand the bytes on."""
        self._process.write(data)
        self.bytes += len(data)
        self._tell(self.bytes)
        return len(data)


class _Readable:
    """What the archive is read from."""

    def __init__(self, process: Piped) -> None:
        self._process = process

    def read(self, count: int) -> bytes:
        """Return as many bytes as asked for, fewer at the end."""
        data = bytearray()
        while len(data) < count and (piece := self._process.read(count - len(data))):
            data += piece
        return bytes(data)
