"""People who change a tree: every byte they write is known, and every byte they replace.

They replace as editors do, by renaming, but swap instead of overwriting: so they know for sure what
they replaced, however much a sync does at the same time.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perdure.sync.far import renaming

#: What a person may run into: a folder where a file was, a name that is gone.
EXPECTED = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL}
FOLDERS = ("", "a", "a/b", "a/b/c", "src", "src/deep er", "n\nl", "-d")
NAMES = ("x.py", "y.py", "z", "b", "c", 'q"uote', "dash -r", "ünï.py", "n.ipynb", "m.ipynb", "a")
PATHS = tuple(f"{folder}/{name}".lstrip("/") for folder in FOLDERS for name in NAMES)


@dataclass(slots=True)
class Book:
    """Which contents have to be somewhere, and what was seen that never should be."""

    alive: set[bytes] = field(default_factory=set)
    torn: list[bytes] = field(default_factory=list)
    operations: int = 0
    history: deque[tuple[str, ...]] = field(default_factory=lambda: deque(maxlen=5000))
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def write(self, rng: random.Random) -> bytes:
        """Return a new content that can be told from all others, and from a part of itself."""
        # Few sizes: that size and time are alike must not matter.
        body = b"%08d " % next(self.numbers) + b"." * rng.choice((0, 100, 100, 100, 5000))
        if rng.random() < 0.002:
            body += b"!" * 700_000
        content = body + b"\n" + hashlib.md5(body).hexdigest().encode()
        self.alive.add(content)
        return content

    def supersede(self, content: bytes) -> None:
        """A person replaced or deleted this content, knowing what they did."""
        self.check(content)
        self.note("supersede", content[:8])
        self.alive.discard(content)

    def note(self, *what: object) -> None:
        """Remember what was done, for whoever has to find out."""
        self.history.append(tuple(str(each) for each in what))

    def told_of(self, content: bytes) -> list[tuple[str, ...]]:
        """Return what was done with a content."""
        return [each for each in self.history if each[-1] == str(content[:8])]

    def about(self, path: str) -> list[tuple[str, ...]]:
        """Return what was done at a path."""
        return [
            each for each in self.history if each[1].endswith(("here/" + path, "there/" + path))
        ]

    def check(self, content: bytes) -> None:
        """Note a content that is not whole."""
        body, _, digest = content.rpartition(b"\n")
        if hashlib.md5(body).hexdigest().encode() != digest:
            self.torn.append(content)


class Person:
    """Someone who works in `root`; `desk` is a folder beside it, on the same file system."""

    def __init__(self, root: Path, desk: Path, book: Book, seed: int) -> None:
        desk.mkdir(parents=True)
        self.root, self.desk, self.book = root, desk, book
        # The contents that lie where they lie because of this person.
        self.placed: set[bytes] = set()
        self.rng = random.Random(seed)
        self._count = itertools.count()

    def act(self, times: int, ways: Sequence[str]) -> None:
        """Do so many things, of the kinds named."""
        for _ in range(times):
            way = self.rng.choice(ways)
            try:
                getattr(self, way)()
                self.book.operations += 1
            except OSError as error:
                if error.errno not in EXPECTED:
                    raise

    def save(self) -> None:
        self._put(self.root / self.rng.choice(PATHS), self._draft())

    def edit(self) -> None:
        """Save over a file that is there."""
        found = self._some_file()
        if found is not None:
            self._put(found, self._draft())

    def in_place(self) -> None:
        """Write into a file that is there: only while nobody else does."""
        found = self._some_file()
        if found is not None and not found.is_symlink():
            self.book.supersede(found.read_bytes())
            found.write_bytes(self.book.write(self.rng))
            self.placed.add(found.read_bytes())
            self.book.note("in place", found, _begin(found))

    def delete(self) -> None:
        found = self._some_file()
        if found is not None:
            taken = self._take(found)
            self._supersede(taken)

    def rename(self) -> None:
        found = self._some_file()
        if found is not None:
            taken = self._take(found)
            self._put(self.root / self.rng.choice(PATHS), taken)

    def rename_folder(self) -> None:
        one, other = (self.root / self.rng.choice(FOLDERS[1:]) for _ in range(2))
        other.parent.mkdir(parents=True, exist_ok=True)
        _rename_new(one, other)
        self.placed.update(each.read_bytes() for each in other.rglob("*") if each.is_file())
        self.book.note("move", one, other)

    def checkout(self) -> None:
        """Change many files at once, as git does."""
        for _ in range(20):
            self.rng.choice((self.save, self.edit, self.edit, self.delete))()
            self.book.operations += 1

    def link(self) -> None:
        draft = self._new_name()
        draft.symlink_to("x.py")
        self._put(self.root / self.rng.choice(PATHS), draft)

    def chmod(self) -> None:
        found = self._some_file()
        if found is not None and not found.is_symlink():
            found.chmod(self.rng.choice((0o644, 0o755, 0o600)))

    def _some_file(self) -> Path | None:
        path = self.root / self.rng.choice(PATHS)
        return path if path.is_symlink() or path.is_file() else None

    def _new_name(self) -> Path:
        return self.desk / str(next(self._count))

    def _draft(self) -> Path:
        draft = self._new_name()
        draft.write_bytes(self.book.write(self.rng))
        return draft

    def _take(self, path: Path) -> Path:
        taken = self._new_name()
        path.rename(taken)
        self.book.note("take", path, _begin(taken))
        return taken

    def _put(self, path: Path, draft: Path) -> None:
        """Put a draft in its place, and know what it replaced."""
        if not draft.is_symlink():
            self.placed.add(draft.read_bytes())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(1000):
                try:
                    if path.is_dir() and not path.is_symlink():
                        raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
                    _swap(draft, path)
                    self.book.note("put", path, _begin(path))
                    self._supersede(draft)
                    return
                except FileNotFoundError:
                    try:
                        _rename_new(draft, path)
                        self.book.note("put", path, _begin(path))
                        return
                    except FileExistsError:
                        continue
        except OSError:
            self._supersede(draft)
            raise

    def _supersede(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            for each in path.rglob("*"):
                if each.is_file() and not each.is_symlink():
                    self.book.supersede(each.read_bytes())
            return
        if not path.is_symlink():
            self.book.supersede(path.read_bytes())
        path.unlink()


def _begin(path: Path) -> object:
    try:
        return path.read_bytes()[:8] if not path.is_symlink() else "a link"
    except OSError:
        return "gone"


def _swap(one: Path, other: Path) -> None:
    _renameat2(one, other, renaming._EXCHANGE)


def _rename_new(one: Path, other: Path) -> None:
    _renameat2(one, other, renaming._NOREPLACE)


def _renameat2(one: Path, other: Path, flags: int) -> None:
    here = -100  # AT_FDCWD
    if not renaming._call(str(one), str(other), here, here, flags):
        raise OSError(errno.EINVAL, "a folder into itself", str(one))


def contents(root: Path, *, aside: bool) -> dict[str, bytes]:
    """Return what a tree has by path, links as their targets; `aside`: in its conflicts instead."""
    found = {}
    start = root / ".perdure" / "conflicts" if aside else root
    for folder, folders, names in os.walk(start):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name != ".perdure"]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *links):
            path = Path(folder, name)
            content = (
                b"-> " + os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            )
            found[path.relative_to(start).as_posix()] = content
    return found


def reckon(book: Book, roots: Sequence[Path], in_place: Iterable[bytes]) -> set[bytes]:
    """Return what was kept aside. Nothing is torn, and all that should be somewhere is.

    `in_place` is what the trees have. What was kept aside is dealt with then: it is removed, and
    need not be anywhere any more.
    """
    placed = set(in_place)
    kept = {each for root in roots for each in contents(root, aside=True).values()}
    for root in roots:
        shutil.rmtree(root / ".perdure" / "conflicts", ignore_errors=True)
    for content in placed | kept:
        if not content.startswith(b"-> "):
            book.check(content)
    assert book.torn == []
    lost = book.alive - kept - placed
    assert {content[:20]: book.told_of(content) for content in lost} == {}
    wanted = kept & book.alive
    book.alive -= kept - placed
    return wanted
