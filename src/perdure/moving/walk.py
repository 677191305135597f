"""A folder of this machine, listed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perdure.moving.entry import Entry, Folder, Kind, leads_out
from perdure.moving.selection import Selection

OUTSIDE = "a link that leads out of the folder"
UNREADABLE = "cannot be read: permission denied"
_ODD = "neither a file, a folder nor a link"
_CIRCLE = "a link that leads back to where it lies"
_BROKEN = "a link to nothing"


@dataclass(slots=True)
class _Found:
    entries: dict[str, Entry] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def list_here(selection: Selection, *, follow: bool) -> Folder:
    """Return what a selection's folder holds; nothing where there is no folder. Reads the disk.

    `follow`: a link out of it is taken for what it leads to, where the selection follows links.
    """
    found = _Found()
    near = selection.near
    if near.is_symlink():
        found.notes.append(f"`{selection.word}` is a link: what is in `{near.resolve()}` is meant")
    if selection.only is not None:
        _list_only(selection, found)
    elif near.is_dir():
        _walk(selection, found, near, "", follow=follow and selection.follows)
    return Folder(found.entries, found.refused, tuple(found.notes))


def entry_at(path: Path) -> Entry | None:
    """Return what is at a path, None where there is nothing or nothing that can be moved."""
    try:
        return _entry(os.lstat(path), path)
    except OSError:
        return None


def _entry(found: os.stat_result, path: Path | str) -> Entry | None:
    mode = stat.S_IMODE(found.st_mode) & 0o777
    if stat.S_ISREG(found.st_mode):
        return Entry(Kind.FILE, found.st_size, found.st_mtime_ns, mode)
    if stat.S_ISDIR(found.st_mode):
        return Entry(Kind.FOLDER, mode=mode)
    if stat.S_ISLNK(found.st_mode):
        return Entry(Kind.LINK, target=os.fspath(Path(path).readlink()))
    return None


def _list_only(selection: Selection, found: _Found) -> None:
    assert selection.only is not None
    for path in sorted(selection.only):
        if selection.skip(path) is None:
            entry = entry_at(selection.near / path)
            if entry is not None and entry.kind is not Kind.FOLDER:
                _take(found, path, entry)


def _walk(selection: Selection, found: _Found, folder: Path, prefix: str, *, follow: bool) -> None:
    line: tuple[tuple[int, int], ...] = (_identity(folder),)
    waiting = [(os.fspath(folder), prefix, line)]
    while waiting:
        here, before, line = waiting.pop()
        try:
            with os.scandir(here) as scanned:
                children = list(scanned)
        except OSError:
            found.refused[before.rstrip("/") or "."] = UNREADABLE
            continue
        for child in _wanted(selection, children, before):
            path = before + child.name
            inner = _look(found, child, path, line, follow=follow)
            if inner is not None:
                waiting.append((child.path, f"{path}/", (*line, inner)))


def _wanted(
    selection: Selection, children: list[os.DirEntry[str]], before: str
) -> Iterator[os.DirEntry[str]]:
    for child in children:
        if not (before or child.name not in selection.apart):
            continue
        # What is told to be left out has to be listed first: its size is told as well.
        if selection.skip(before + child.name) != "":
            yield child


def _look(
    found: _Found,
    child: os.DirEntry[str],
    path: str,
    line: tuple[tuple[int, int], ...],
    *,
    follow: bool,
) -> tuple[int, int] | None:
    """Note one name, and return the identity of the folder that has to be entered."""
    try:
        status = child.stat(follow_symlinks=False)
        entry = _entry(status, child.path)
        if entry is not None and entry.kind is Kind.LINK and leads_out(path, entry.target):
            if not follow:
                _take(found, path, entry)
                return None
            status = child.stat()
            entry = _entry(status, child.path)
            real = os.path.realpath(child.path)
            found.notes.append(f"`{path}` is a link: what is in `{real}` is meant")
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        found.refused[path] = _BROKEN if gone else (error.strerror or str(error)).lower()
        return None
    identity = (status.st_dev, status.st_ino)
    if entry is None or (entry.kind is Kind.FOLDER and identity in line):
        found.refused[path] = _ODD if entry is None else _CIRCLE
        return None
    found.entries[path] = entry
    return identity if entry.kind is Kind.FOLDER else None


def _take(found: _Found, path: str, entry: Entry) -> None:
    found.entries[path] = entry
    if entry.kind is Kind.LINK and leads_out(path, entry.target):
        found.refused[path] = OUTSIDE


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
