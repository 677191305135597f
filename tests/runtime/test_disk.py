"""Files to and from page-aligned memory, with O_DIRECT and without."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest

from perdure.runtime import disk, staging

SIZES = (1, 4095, 4096, 4097, 3 * 4096 + 5, (1 << 20) + 7)


def filled(size: int) -> mmap.mmap:
    memory = staging.allocate(size)
    memory[:size] = bytes(n % 251 for n in range(size))
    return memory


@pytest.mark.parametrize("direct_from", [0, 1 << 40])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(
    tmp_path: Path, size: int, direct_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_DIRECT_FROM_BYTES", direct_from)
    monkeypatch.setattr(disk, "READ_BYTES", 3 * 4096)
    path = str(tmp_path / "a file\n$(x)")
    calls: list[int] = []
    disk.write(path, filled(size), size, lambda: calls.append(1))
    assert 1 <= len(calls) <= 4
    assert Path(path).stat().st_size == size
    memory, parts = staging.allocate(size), bytearray()
    assert disk.read(path, memory, size, parts.extend) == size
    assert bytes(parts) == bytes(memory[:size]) == bytes(filled(size)[:size])


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    disk.write_small(path, b"first")
    with pytest.raises(FileExistsError):
        disk.write_small(path, b"second")
    with pytest.raises(FileExistsError):
        disk.write(path, filled(2 << 20), 2 << 20, lambda: None)
    assert Path(path).read_bytes() == b"first"


def test_a_cut_file_is_read_as_far_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "READ_BYTES", 4096)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 9000)
    assert disk.read(str(path), staging.allocate(40960), 40960, lambda part: None) == 9000


def test_an_error_while_reading_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "file"
    path.write_bytes(b"x" * 9000)
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError, match="Input/output"):
        disk.read(str(path), staging.allocate(9000), 9000, lambda part: None)


def test_readers_end_when_what_sees_their_parts_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "READ_BYTES", 4096)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096 * 400)

    def refuse(part: memoryview) -> None:
        raise ValueError("seen")

    with pytest.raises(ValueError, match="seen"):
        disk.read(str(path), staging.allocate(4096 * 400), 4096 * 400, refuse)


def test_a_system_that_refuses_to_open_with_o_direct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some file systems do: the file is there by then."""
    real = os.open

    def open_file(path: str, flags: int, mode: int = 0o777) -> int:
        fd = real(path, flags & ~os.O_DIRECT, mode)
        if flags & os.O_DIRECT:
            os.close(fd)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return fd

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(disk, "_DIRECT_FROM_BYTES", 0)
    disk.write(str(tmp_path / "file"), filled(5000), 5000, lambda: None)
    assert (tmp_path / "file").read_bytes() == bytes(filled(5000)[:5000])


def test_a_system_that_wants_larger_blocks_is_written_to_without_o_direct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = os.pwritev, [OSError(errno.EINVAL, os.strerror(errno.EINVAL))]

    def pwritev(fd: int, parts: list[memoryview], start: int) -> int:
        if refused:
            raise refused.pop()
        return real(fd, parts, start)

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(disk, "_DIRECT_FROM_BYTES", 0)
    disk.write(str(tmp_path / "file"), filled(5000), 5000, lambda: None)
    assert (tmp_path / "file").read_bytes() == bytes(filled(5000)[:5000])


@pytest.mark.parametrize("direct", [0, os.O_DIRECT])
def test_other_refusals_are_raised(
    tmp_path: Path, direct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(disk, "_DIRECT", direct)
    monkeypatch.setattr(os, "pwritev", refuse)
    with pytest.raises(OSError, match="Invalid"):
        disk.write_small(str(tmp_path / "file"), b"x")
