"""What can be deleted on the other side, and deleting it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import ConflictError
from perdure.moving import far, scripts
from perdure.moving.address import Address
from perdure.moving.arrive import writing
from perdure.moving.entry import Entry, Kind, above
from perdure.moving.far import Far
from perdure.moving.manifest import COMMITTED
from perdure.moving.selection import Selection
from perdure.moving.shelf import open_shelf
from perdure.moving.walk import list_here

_GONE = "delete it there yourself: what it leads to may be everybody's"


@dataclass(frozen=True, slots=True)
class Doomed:
    """What would be deleted of a word at `where`: names at its top, files, bytes.

    `delete` does it, and returns the names that were left because they are in use.
    """

    word: str
    where: str
    names: tuple[str, ...]
    files: int
    bytes: int
    delete: Callable[[], tuple[str, ...]]


def doomed_there(
    other: Far, selection: Selection, where: str, chosen: Callable[[str, float], bool]
) -> Doomed:
    """Return what would be deleted on a host; `chosen` is asked with a name and its newest time.

    Raises:
        ConflictError: the folder is a link.
        HostUnreachable: the host does not answer.
        StorageError: the folder cannot be listed.
    """
    place = far.look(other, selection, make=False)
    if place.is_link:
        raise ConflictError(
            f"`{selection.word}` on `{where}` is a link to `{place.folder}`", hint=_GONE
        )
    entries = far.list_there(place, selection).entries
    names = [name for name, newest in _tops(entries).items() if chosen(name, newest)]
    is_results = selection.word == "results"
    script = scripts.DELETE_JOBS if is_results else scripts.DELETE

    def delete() -> tuple[str, ...]:
        what = f"{selection.word} cannot be deleted"
        place.must(what, scripts.FORGET, place.staging)
        said = place.must(what, script, place.folder, stdin=far.listed(names))
        left = said.decode("utf-8", "surrogateescape").split("\0")
        return tuple(sorted(name.removeprefix("./") for name in left if name))

    return _doomed(selection.word, where, entries, names, delete)


def doomed_in_bucket(address: Address, word: str) -> Doomed:
    """Return what would be deleted in a bucket: all that perdure pushed there of a word.

    Raises:
        UsageError: there is no such bucket.
        EnvironmentFailed, HostUnreachable, StorageError: it cannot be listed.
    """
    shelf = open_shelf(address, word, make=False)
    objects = shelf.objects()
    mark = f"{word}/{COMMITTED}"

    def delete() -> tuple[str, ...]:
        # First what says that it counts: half a folder never does.
        shelf.delete([mark] if mark in objects else [])
        shelf.delete([key for key in objects if key != mark])
        return ()

    total = sum(each.size for each in objects.values())
    return Doomed(word, str(address), (word,) if objects else (), len(objects), total, delete)


def doomed_here(selection: Selection, kept: Collection[str]) -> Doomed:
    """Return what would be deleted of a folder of this machine; `kept` are paths that stay.

    Raises:
        ConflictError: the folder is a link.
    """
    near, word = selection.near, selection.word
    if near.is_symlink():
        raise ConflictError(f"`{word}` is a link to `{near.resolve()}`", hint=_GONE)
    entries = list_here(selection, follow=False).entries
    staying = {folder for path in kept for folder in above(path)}.union(kept)
    going = {path: entry for path, entry in entries.items() if path not in staying}
    tops = [path for path in going if not any(folder in going for folder in above(path))]

    def delete() -> tuple[str, ...]:
        with writing(near):
            for path in tops:
                _remove(near / path)
        return ()

    return _doomed(word, "here", going, tops, delete)


def _doomed(
    word: str,
    where: str,
    entries: Mapping[str, Entry],
    names: Sequence[str],
    delete: Callable[[], tuple[str, ...]],
) -> Doomed:
    going = frozenset(names)
    files = [
        entry.size
        for path, entry in entries.items()
        if entry.kind is not Kind.FOLDER
        and (path in going or any(each in going for each in above(path)))
    ]
    return Doomed(word, where, tuple(sorted(names)), len(files), sum(files), delete)


def _tops(entries: Mapping[str, Entry]) -> dict[str, float]:
    """Return the names at the top, each with the newest time below it (unix seconds)."""
    newest: dict[str, float] = {}
    for path, entry in entries.items():
        name = path.partition("/")[0]
        newest[name] = max(newest.get(name, 0.0), entry.mtime_ns / 1e9)
    return newest


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
