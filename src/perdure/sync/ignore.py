"""What git ignores: asked of git itself, once for what is known, and again for what is new."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from perdure.errors import MissingProgram, PerdureError
from perdure.hosts.local import Completed, run
from perdure.model.code import CLUTTER

GIT_S = 60.0
# What points git to another repository; inside a hook git sets such variables.
_ELSEWHERE = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    }
)


class Verdicts:
    """Which files and folders of one repository are code; `warning` where there is no git to ask.

    Paths are relative to `folder`. What was asked once is known until `is_stale`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warning: str | None = None
        self._files: dict[str, bool] = {}
        self._folders: dict[str, bool] = {}
        self._watched: tuple[Path, ...] = ()
        self._stamps: tuple[tuple[int, int], ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Ask git for everything anew. Runs git."""
        self._files.clear()
        self._folders.clear()
        self.warning, answer = _ask(self.folder, "ls-files", "-c", "-o", "--exclude-standard", "-z")
        if answer is None:
            return
        for path in _paths(answer.stdout):
            self._learn(path)
        self._watched = _places(self.folder)
        self._stamps = tuple(_stamp(path) for path in self._watched)

    def is_stale(self) -> bool:
        """Return whether git's index or its own list of ignored files is another one by now."""
        return tuple(_stamp(path) for path in self._watched) != self._stamps

    def file(self, path: str) -> bool | None:
        """Return whether a file is code, None if that is not known yet."""
        return self._files.get(path) if self.warning is None else True

    def is_folder_code(self, path: str) -> bool | None:
        """Return whether a folder may have code in it, None if that is not known yet."""
        if self.warning is not None:
            return path.rpartition("/")[2] not in CLUTTER
        found = self._folders.get(path)
        # Git lists another repository inside this one as if it were a file.
        return True if found is None and self._files.get(path) else found

    def ask(self, files: Sequence[str], folders: Sequence[str]) -> None:
        """Learn of paths that are not known yet. Runs git."""
        if not files and not folders:
            return
        asked = b"\0".join(os.fsencode(path) for path in (*files, *folders))
        answer = _git(self.folder, "check-ignore", "-z", "--stdin", stdin=asked + b"\0")
        if answer is not None and answer.returncode in (0, 1):
            ignored = set(_paths(answer.stdout))
        else:
            ignored = {path for path in folders if path.rpartition("/")[2] in CLUTTER}
        self._files.update((path, path not in ignored) for path in files)
        self._folders.update((path, path not in ignored) for path in folders)

    def _learn(self, path: str) -> None:
        path = path.rstrip("/")
        self._files[path] = True
        parent = path.rpartition("/")[0]
        while parent and parent not in self._folders:
            self._folders[parent] = True
            parent = parent.rpartition("/")[0]


def _ask(folder: Path, *words: str) -> tuple[str | None, Completed | None]:
    """Return why git has no answer, or its answer."""
    try:
        answer = _run(folder, words)
    except MissingProgram:
        return "no git on this machine", None
    except PerdureError as error:
        return error.message, None
    if answer.returncode == 0:
        return None, answer
    if b"not a git repository" in answer.stderr:
        return "no git repository here", None
    complaint = answer.complaint.splitlines()
    return complaint[0] if complaint else "git gives no answer", None


def _git(folder: Path, *words: str, stdin: bytes | None = None) -> Completed | None:
    try:
        return _run(folder, words, stdin)
    except PerdureError:
        return None


def _run(folder: Path, words: Iterable[str], stdin: bytes | None = None) -> Completed:
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    environment = kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    return run(["git", "-C", str(folder), *words], env=environment, stdin=stdin, timeout_s=GIT_S)


def _places(folder: Path) -> tuple[Path, ...]:
    """Return the files of git's own that decide about what is code."""
    found = _git(folder, "rev-parse", "--git-path", "index", "--git-path", "info/exclude")
    lines = os.fsdecode(found.stdout).splitlines() if found is not None else []
    return tuple(folder / line for line in lines)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _paths(answer: bytes) -> list[str]:
    return [os.fsdecode(each) for each in answer.split(b"\0") if each]
