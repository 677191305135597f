"""What of a tree is looked at again and again: the paths of the other side, and what goes back."""

from __future__ import annotations

import json
import os
from typing import Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from perdure.sync.far.drafts import DRAFT
from perdure.sync.far.patterns import Patterns
from perdure.sync.far.tree import FILE, LINK, Entry, Memory, Seen, Tick, look

# An entry and how many bytes it has, as it is told; None: nothing is there.
Told = Optional[Tuple[str, str, int, int]]


class Search(NamedTuple):
    """What is looked for: names of folders that are passed over, anywhere and at the top."""

    pull: Patterns
    hidden: FrozenSet[str]
    never: FrozenSet[str]


class Watch:
    """The paths that are compared with what was told of them. `tick` is called again and again."""

    def __init__(self, root: int, memory: Memory, search: Search, tick: Tick) -> None:
        self.told: Dict[str, Optional[str]] = {}
        # Drafts that were come upon: some may be those of a session that was killed.
        self.drafts: List[str] = []
        # The folders in which something could appear that goes back.
        self.folders: Set[str] = set()
        self.memory = memory
        self._root = root
        self._search = search
        self._tick = tick

    def begin(self, told: Dict[str, Optional[str]]) -> None:
        """Take over which paths the other side knows, by their digests there as it believes."""
        self.told = told
        self._find_drafts()

    def note(self, path: str, digest: Optional[str]) -> None:
        """Know what the other side takes to be there from now on: what it asked for, no more."""
        self.told[path] = digest

    def forget(self, path: str) -> None:
        """Look no more at a path that both sides have removed."""
        self.told.pop(path, None)
        self.memory.pop(path, None)

    def changes(self) -> Dict[str, Told]:
        """Return what is not as it was told, and tell it so. Reads files that changed."""
        found: Dict[str, Told] = {}
        for path in [*self.told, *self._coming_back()]:
            self._compare(path, found)
            self._tick()
        return found

    def changes_at(self, paths: Iterable[str]) -> Dict[str, Told]:
        """Return what of these paths goes back and is not as it was told."""
        found: Dict[str, Told] = {}
        for path in paths:
            if self._search.pull.matches(path):
                self._compare(path, found)
        return found

    def _compare(self, path: str, found: Dict[str, Told]) -> None:
        before = self.memory.get(path)
        try:
            seen = look(path, self._root, before, self._tick)
        except OSError:
            # Unreadable, or in motion: told of when it can be read.
            return
        if seen is None or seen.entry.kind not in (FILE, LINK):
            self.memory.pop(path, None)
            if self.told.get(path) is not None:
                self.told[path] = found[path] = None
            return
        self.memory[path] = seen
        if self.told.get(path) != seen.entry.digest:
            self.told[path] = seen.entry.digest
            found[path] = (*seen.entry, seen.stamp[2])

    def _coming_back(self) -> Iterator[str]:
        """Yield the paths that match what goes back and were not known; note drafts."""
        waiting = [""]
        self.folders.clear()
        while waiting:
            folder = waiting.pop()
            self.folders.add(folder)
            for name, is_folder in self._listed(folder):
                path = folder + "/" + name if folder else name
                if is_folder:
                    if not self._passes_over(folder, name):
                        waiting.append(path)
                elif name.startswith(DRAFT):
                    self.drafts.append(path)
                elif path not in self.told and self._search.pull.matches(path):
                    yield path

    def _find_drafts(self) -> None:
        """Note the drafts in folders that hold code and are passed over otherwise."""
        folders = {path.rpartition("/")[0] for path in self.told}
        for folder in folders:
            parts = folder.split("/") if folder else []
            if any(self._passes_over("", part) for part in parts):
                names = (name for name, _ in self._listed(folder) if name.startswith(DRAFT))
                self.drafts.extend(folder + "/" + name for name in names)

    def _passes_over(self, folder: str, name: str) -> bool:
        if not folder and name in self._search.never:
            return True
        return name.startswith(".") or name in self._search.hidden

    def _listed(self, folder: str) -> List[Tuple[str, bool]]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        # A disk over a network may take its time: whoever waits is to know that it goes on.
        self._tick()
        try:
            fd = os.open(folder or ".", flags, dir_fd=self._root)
        except OSError:
            return []
        found = []
        try:
            with os.scandir(fd) as entries:
                for each in entries:
                    found.append((each.name, each.is_dir(follow_symlinks=False)))
                    self._tick()
        finally:
            os.close(fd)
        return found


def load(path: str, root: int) -> Memory:
    """Return what an earlier session saw; nothing if it left nothing that can be read."""
    try:
        with open(
            os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=root), encoding="ascii"
        ) as file:
            rows = json.load(file)
        return {
            path: Seen((int(m), int(c), int(s), int(i)), Entry(str(k), str(d), int(mode)), True)
            for path, m, c, s, i, k, d, mode in rows
        }
    except (OSError, ValueError, TypeError):
        return {}


def save(path: str, root: int, memory: Memory) -> None:
    """Keep what is settled for a later session; a disk that refuses costs only time later."""
    rows = [(p, *seen.stamp, *seen.entry) for p, seen in memory.items() if seen.settled]
    draft = path + ".draft"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=root)
        with open(fd, "w", encoding="ascii") as file:
            # All at once: `json.dump` is written in Python, and takes ten times as long.
            file.write(json.dumps(rows))
        os.replace(draft, path, src_dir_fd=root, dst_dir_fd=root)
    except OSError:
        pass
