"""Which files are a project's code: what git would see, or a walk where there is no git."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import PerdureError
from perdure.hosts.local import Completed, run
from perdure.model.code import CLUTTER, NEVER

GIT_S = 60.0
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


@dataclass(frozen=True, slots=True)
class Listing:
    """Paths relative to the project, sorted; `warning` where they had to be found without git."""

    paths: tuple[str, ...]
    warning: str | None = None


def list_code(root: Path) -> Listing:
    """Return the paths of the project's files, links included. Reads the disk, may run git."""
    why_not, answer = _ask_git(root)
    if answer is None:
        paths = tuple(sorted(_walk(root, "")))
        return Listing(paths, f"{why_not}: files are taken without asking .gitignore")
    return Listing(tuple(sorted(set(_from_git(root, answer.stdout)))))


def git(
    root: Path, *arguments: str, env: dict[str, str] | None = None, stdin: bytes | None = None
) -> Completed:
    """Return how a git command ended in the folder `root`.

    Raises:
        MissingProgram: there is no git.
    """
    environment = git_environment() if env is None else env
    return run(["git", "-C", str(root), *arguments], env=environment, stdin=stdin, timeout_s=GIT_S)


def git_environment() -> dict[str, str]:
    """Return this process's environment without what points git to another repository.

    Inside a hook git sets such variables. Its messages are asked for in English: one is read.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def _ask_git(root: Path) -> tuple[str, Completed | None]:
    if shutil.which("git") is None:
        return "no git on this machine", None
    try:
        answer = git(root, "ls-files", "-c", "-o", "--exclude-standard", "-z")
    except PerdureError as error:
        return error.message, None
    if answer.returncode == 0:
        return "", answer
    if b"not a git repository" in answer.stderr:
        return "no git repository here", None
    complaint = answer.complaint.splitlines()
    return complaint[0] if complaint else "git gives no answer", None


def _from_git(root: Path, answer: bytes) -> Iterator[str]:
    for raw in filter(None, answer.split(b"\0")):
        path = os.fsdecode(raw).rstrip("/")
        if path.partition("/")[0] in NEVER:
            continue
        folder = root / path
        if folder.is_dir() and not folder.is_symlink():
            # A repository inside this one: git names it, and says nothing of what is in it.
            inner = list_code(folder)
            yield from (f"{path}/{name}" for name in inner.paths)
        else:
            yield path


def _walk(root: Path, prefix: str) -> Iterator[str]:
    with os.scandir(root / prefix) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.name in CLUTTER or (entry.name if prefix else path) == ".git":
                continue
            if not prefix and path in NEVER:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, path + "/")
            elif entry.is_symlink() or entry.is_file():
                yield path
