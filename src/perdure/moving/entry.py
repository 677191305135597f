"""A folder as it was found: what is in it, and what cannot be moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What a name stands for; `find -printf %y` says the same letters."""

    FILE = "f"
    FOLDER = "d"
    LINK = "l"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of a folder: bytes, when it changed (nanoseconds), permissions, a link's target."""

    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    target: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """Return what changes when its contents do: size and time."""
        return self.size, self.mtime_ns


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds: entries by path, relative and with slashes, in bytes of any kind.

    `refused` are the paths that cannot be moved, and why. `notes` are for the user.
    """

    entries: Mapping[str, Entry]
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def files(self) -> dict[str, Entry]:
        """Return its regular files."""
        return {path: each for path, each in self.entries.items() if each.kind is Kind.FILE}


NOTHING = Folder({})


def above(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, the outermost first."""
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def leads_out(path: str, target: str) -> bool:
    """Return whether a link at `path` leads out of the folder that `path` is relative to. Pure."""
    if target.startswith("/"):
        return True
    depth = path.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False
