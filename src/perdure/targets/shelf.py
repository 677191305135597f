"""Folders of this host as others ask for them: what is in them, pieces of files, a few changes.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from perdure.runtime import names


def listed(folder: str) -> list[list[object]]:
    """Return name, size and time (ns) of each file below a folder; a folder not there has none.

    Left out are links, and of checkpoints all but what is written of them: their weights.
    """
    base = Path(folder)
    found: list[list[object]] = []
    for path, _, files in os.walk(base):
        inner = Path(path).relative_to(base)
        for name in sorted(files):
            each = Path(path, name)
            weights = names.CHECKPOINTS in inner.parts and not name.endswith(".json")
            try:
                known = each.lstat()
            except OSError:
                continue  # it has gone meanwhile
            if not weights and not each.is_symlink():
                found.append([(inner / name).as_posix(), known.st_size, known.st_mtime_ns])
    return found


def piece(path: str, at: int, size: int) -> bytes:
    """Return a piece of a file, less where it ends before."""
    with Path(path).open("rb") as file:
        file.seek(at)
        return file.read(size)


def make(folders: Sequence[str]) -> None:
    """Make folders, those above them too."""
    for each in folders:
        Path(each).mkdir(parents=True, exist_ok=True)


def move(folder: str, final: str) -> None:
    """Give a folder another name; one that has it already is right too."""
    if Path(folder).exists() or not Path(final).exists():
        Path(folder).rename(final)


def remove(folder: str) -> None:
    """Remove a folder with all that is in it; none there is right too."""
    shutil.rmtree(folder, ignore_errors=True)


def links(folder: str) -> list[list[str]]:
    """Return name and target of each link below a folder; of checkpoints none.

    One that names something of the folder in full is told as it would be from where it is.
    """
    base = Path(folder)
    found: list[list[str]] = []
    for path, inner, files in os.walk(base):
        if Path(path) == base and names.CHECKPOINTS in inner:
            inner.remove(names.CHECKPOINTS)
        for each in (Path(path, name) for name in sorted([*inner, *files])):
            if each.is_symlink():
                to = str(each.readlink())
                if base in Path(os.path.normpath(to)).parents:
                    to = os.path.relpath(to, path)
                found.append([each.relative_to(base).as_posix(), to])
    return found


def stays(name: str, to: str) -> bool:
    """Return whether a link of that name leads to something of its own folder. Pure."""
    final = Path(os.path.normpath(Path(name).parent / to))
    return not final.is_absolute() and final.parts[:1] != ("..",)


def make_links(folder: str, wanted: Sequence[Sequence[str]]) -> None:
    """Make links, each by name and target, in place of older ones; what is no link stays."""
    for name, to in wanted:
        final = Path(folder, name)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists() and not final.is_symlink():
            continue
        final.unlink(missing_ok=True)
        final.symlink_to(to)


def clear(folder: str) -> None:
    """Remove a folder with all that is in it; none there is right too.

    Raises:
        OSError: something of it cannot be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        # It names the file alone.
        raise OSError(error.errno, error.strerror, folder) from error


def has(path: str) -> bool:
    """Return whether there is something of that name."""
    return os.path.lexists(path)


def drop(path: str) -> None:
    """Remove a file; none there is right too."""
    Path(path).unlink(missing_ok=True)


def lead(path: str, to: str) -> None:
    """Have a folder be a link to another one; an empty one gives way to it.

    Raises:
        OSError: there is something else.
    """
    here = Path(path)
    if here.is_symlink() and os.readlink(here) == to:  # noqa: PTH115 - as text
        return
    here.parent.mkdir(parents=True, exist_ok=True)
    if here.is_dir() and not here.is_symlink():
        here.rmdir()
    elif here.is_symlink():
        here.unlink()
    here.symlink_to(to)


def touch(path: str) -> None:
    """Make an empty file."""
    Path(path).touch()


def cores() -> int:
    """Return how many cores this host has."""
    return os.cpu_count() or 1
