"""The project's code as it is here: one stat for each file, and no file is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from perdure.model.code import NEVER
from perdure.sync.far.drafts import DRAFT
from perdure.sync.far.folders import leads_out
from perdure.sync.far.patterns import Patterns
from perdure.sync.far.tree import (
    FILE,
    FOLDER,
    LINK,
    MODE,
    OTHER,
    Entry,
    Memory,
    kind_of,
    stamp_of,
)
from perdure.sync.ignore import Verdicts
from perdure.sync.rules import Rules, Skipped

OWN_FILE = ".perdureignore"
_GIT_FILE = ".gitignore"
_IGNORED = "git ignores it"
_OWN = f"{OWN_FILE} names it"


@dataclass(slots=True)
class View:
    """The code by path; `held` is what is there and stays as it is on both sides, and why.

    `skipped` names ignored folders without what is in them.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    drafts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Walk:
    """One pass over the tree: what nobody has judged yet waits for git."""

    view: View
    waiting: list[tuple[str, str]]
    new_files: dict[str, list[tuple[str, os.stat_result]]] = field(default_factory=dict)
    new_folders: dict[str, list[str]] = field(default_factory=dict)


class Scanner:
    """Reads the tree below `root`. `memory` knows what was read before, and is not changed."""

    def __init__(self, root: Path, rules: Rules, memory: Memory) -> None:
        self._root = root
        self._memory = memory
        self._rules = rules
        self._pull = Patterns(rules.pull)
        self._own = Patterns(())
        self._own_stamp: tuple[int, int] | None = None
        self._repositories: dict[str, Verdicts] = {}
        # The files of the last look: what is unchanged since is code still.
        self._taken: dict[str, Entry] = {}
        self._git_files: dict[str, tuple[int, int]] | None = None

    @property
    def warning(self) -> str | None:
        """Return why git was not asked, None if it was."""
        return self._verdicts("").warning

    def comes_back(self, path: str) -> bool:
        """Return whether a path goes both ways."""
        return self._pull.matches(path)

    def everything(self, known: Iterable[str] = ()) -> View:
        """Return the whole tree. A path of `known` that is there, but no code, is held.

        Touches the disk, may run git.
        """
        self._refresh()
        view = self._walk("")
        if self._git_files_changed(view):
            self._forget_verdicts()
            view = self._walk("")
            self._git_files_changed(view)
        for path in known:
            if path not in view.files and path not in view.held:
                self._hold(path, view)
        self._taken = view.files
        return view

    def part(self, path: str, known: Iterable[str] = ()) -> View:
        """Return what is at a path or below it, as `everything`; it need not be there."""
        view = View()
        if self._is_out_of_reach(path):
            return view
        try:
            found = os.lstat(self._full(path))
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found is not None and kind_of(found.st_mode) == FOLDER:
            if self._enters(path):
                view = self._walk(path)
        elif found is not None:
            self._take_one(path, found, view)
        for each in known:
            if each not in view.files and each not in view.held:
                self._hold(each, view)
        return view

    def decides(self, path: str) -> bool:
        """Return whether a file says what else is ignored."""
        return path == OWN_FILE or path.rpartition("/")[2] == _GIT_FILE

    def skipped(self, view: View) -> tuple[Skipped, ...]:
        """Return what of the tree stays here, and why."""
        named = {**view.skipped, **view.held}
        return tuple(Skipped(path, why) for path, why in sorted(named.items()))

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else str(self._root)

    def _walk(self, start: str) -> View:
        walk = _Walk(View(), [(start, self._repository_of(start))])
        while walk.waiting:
            while walk.waiting:
                folder, repository = walk.waiting.pop()
                self._list(folder, repository, walk)
            self._judge(walk)
        return walk.view

    def _list(self, folder: str, repository: str, walk: _Walk) -> None:
        prefix = folder + "/" if folder else ""
        entries = self._entries(folder, walk.view)
        if folder and folder != repository and any(each.name == ".git" for each in entries):
            repository = folder
        verdict = self._verdicts(repository).file
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                self._meet_folder(path, entry.name, repository, walk)
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            before = self._memory.get(path)
            if (
                path in self._taken
                and before is not None
                and before.settled
                and before.stamp == stamp_of(found)
                and verdict(_inside(path, repository))
            ):
                # As it was when it was last looked at more closely.
                walk.view.files[path] = before.entry
            else:
                self._meet_file(path, found, repository, walk)

    def _entries(self, folder: str, view: View) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._full(folder)) as listed:
                entries = list(listed)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            view.held[folder] = f"cannot be read: {(error.strerror or '').lower()}"
            return []
        view.folders.add(folder)
        return entries

    def _meet_folder(self, path: str, name: str, repository: str, walk: _Walk) -> None:
        if path in NEVER or name == ".git":
            walk.view.skipped[path] = "is never part of the code"
            return
        if self._own and self._own.matches(path, folder=True):
            walk.view.skipped[path] = _OWN
            return
        verdict = self._verdicts(repository).is_folder_code(_inside(path, repository))
        if verdict is None:
            walk.new_folders.setdefault(repository, []).append(path)
        elif verdict:
            walk.waiting.append((path, repository))
        else:
            walk.view.skipped[path] = _IGNORED

    def _meet_file(self, path: str, found: os.stat_result, repository: str, walk: _Walk) -> None:
        name = path.rpartition("/")[2]
        if name.startswith(DRAFT):
            walk.view.drafts.append(path)
            return
        if path in NEVER or name == ".git":
            return
        if self._own and self._own.matches(path):
            walk.view.skipped[path] = _OWN
            return
        verdict = self._verdicts(repository).file(_inside(path, repository))
        if verdict is None and self._pull.matches(path):
            verdict = True
        if verdict is None:
            walk.new_files.setdefault(repository, []).append((path, found))
        elif verdict or self._pull.matches(path):
            self._take(path, found, walk.view)
        else:
            walk.view.skipped[path] = _IGNORED

    def _judge(self, walk: _Walk) -> None:
        """Ask git about what is new, and take it or leave it."""
        files, walk.new_files = walk.new_files, {}
        folders, walk.new_folders = walk.new_folders, {}
        for repository in {*files, *folders}:
            verdicts = self._verdicts(repository)
            verdicts.ask(
                [_inside(path, repository) for path, _ in files.get(repository, ())],
                [_inside(path, repository) for path in folders.get(repository, ())],
            )
            for path, found in files.get(repository, ()):
                self._meet_file(path, found, repository, walk)
            for path in folders.get(repository, ()):
                self._meet_folder(path, path.rpartition("/")[2], repository, walk)

    def _take(self, path: str, found: os.stat_result, view: View) -> None:
        """Add a file to the view, or say why it is held."""
        before = self._memory.get(path)
        kind = kind_of(found.st_mode)
        if before is not None and before.stamp == stamp_of(found) and before.settled:
            entry = before.entry
        else:
            entry = Entry(kind, "", found.st_mode & MODE if kind == FILE else 0)
        why = self._why_not(path, kind, found)
        if why is None:
            view.files[path] = entry
        else:
            view.held[path] = why

    def _why_not(self, path: str, kind: str, found: os.stat_result) -> str | None:
        if kind == FILE:
            if found.st_size <= self._rules.largest_bytes:
                return None
            return (
                f"{found.st_size / 2**20:.0f} MiB is too large for code: "
                "put it under data/, then `perdure push data`"
            )
        if kind == LINK:
            try:
                target = os.readlink(self._full(path))
            except OSError:
                return "cannot be read"
            return "is a link that may lead out of the project" if leads_out(path, target) else None
        return "is neither a file nor a link" if kind == OTHER else "is a folder"

    def _take_one(self, path: str, found: os.stat_result, view: View) -> None:
        repository = self._repository_of(path)
        parent = path.rpartition("/")[0]
        if parent and not self._enters(parent):
            return
        walk = _Walk(view, [])
        self._meet_file(path, found, repository, walk)
        self._judge(walk)

    def _enters(self, folder: str) -> bool:
        """Return whether a walk would come into a folder."""
        walk = _Walk(View(), [])
        at = -1
        while at < len(folder):
            at = folder.find("/", at + 1)
            at = len(folder) if at < 0 else at
            path = folder[:at]
            self._meet_folder(
                path, path.rpartition("/")[2], self._repository_of(path.rpartition("/")[0]), walk
            )
            self._judge(walk)
            if not walk.waiting:
                return False
            walk.waiting.clear()
        return True

    def _is_out_of_reach(self, path: str) -> bool:
        """Return whether a path lies below a link, or where no code is."""
        parts = path.split("/")
        if parts[0] in NEVER or ".git" in parts:
            return True
        parents = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return any(_is_link(self._full(parent)) for parent in parents)

    def _hold(self, path: str, view: View) -> None:
        """Hold a path that both sides know, if it is still there: ignored is not deleted."""
        if self._is_out_of_reach(path):
            return
        above = path
        while above:
            above = above.rpartition("/")[0]
            if above in view.held:
                view.held[path] = view.held[above]
                return
        try:
            found = os.lstat(self._full(path))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            view.held[path] = f"cannot be read: {(error.strerror or '').lower()}"
            return
        if kind_of(found.st_mode) == FOLDER:
            return
        if self.comes_back(path) and not self._own.covers(path):
            self._take(path, found, view)
        else:
            view.held[path] = "is no code any more"

    def _repository_of(self, path: str) -> str:
        """Return the innermost known repository that a path lies in."""
        inside = [each for each in self._repositories if each and _lies_in(path, each)]
        return max(inside, key=len, default="")

    def _verdicts(self, repository: str) -> Verdicts:
        found = self._repositories.get(repository)
        if found is None:
            found = Verdicts(self._root / repository if repository else self._root)
            self._repositories[repository] = found
        return found

    def _refresh(self) -> None:
        """Ask anew for what was changed since the last look."""
        stamp = _stamp(self._root / OWN_FILE)
        if stamp != self._own_stamp:
            self._own_stamp = stamp
            self._taken = {}
            self._own = Patterns(_lines(self._root / OWN_FILE))
        for verdicts in self._repositories.values():
            if verdicts.is_stale():
                verdicts.refresh()

    def _forget_verdicts(self) -> None:
        self._repositories.clear()

    def _git_files_changed(self, view: View) -> bool:
        found = {}
        for path in (*view.files, *view.held, *view.skipped):
            if path.endswith(_GIT_FILE):
                found[path] = _stamp(self._root / path) or (0, 0)
        before, self._git_files = self._git_files, found
        return before is not None and found != before


def _inside(path: str, repository: str) -> str:
    return path[len(repository) + 1 :] if repository else path


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
