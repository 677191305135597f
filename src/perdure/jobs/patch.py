"""What a job's code is in terms of git: a commit, and a patch that leads from it to the code.

The patch is made from the snapshot itself, so that it cannot tell of another moment, with an index
and a store of objects of its own: the user's repository is only read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import PerdureError
from perdure.jobs.listing import git, git_environment
from perdure.model.code import NEVER
from perdure.model.report import Report

_DIFF = (
    "diff",
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
)


@dataclass(frozen=True, slots=True)
class Revision:
    """The commit, None where there is none, and the patch from it to the code: empty where clean.

    `dirty` is true without a patch where there is no commit for it to begin at.
    """

    commit: str | None
    patch: bytes = b""

    @property
    def dirty(self) -> bool:
        """Return whether the code is not that of the commit."""
        return self.commit is None or bool(self.patch)


def read_revision(
    root: Path, code: Path, paths: Iterable[str], *, scratch: Path, report: Report
) -> Revision:
    """Return what the files `paths` of `code` are in terms of the repository `root` lies in.

    `code` is a snapshot of `root`, or `root` itself. Runs git; writes in `scratch` only.
    """
    try:
        prefix, folder, objects, head = _whereabouts(root)
    except PerdureError:
        return Revision(None)
    commit = head.decode().strip()
    lent = os.path.join(root, os.fsdecode(objects))  # noqa: PTH118 - as git will read it
    try:
        with _Scratch.open(os.fsdecode(folder), lent, code, scratch) as repository:
            return Revision(commit, repository.patch(prefix, paths))
    except PerdureError as error:
        report(f"warning: uncommitted changes are not recorded as a patch: {error.message}")
        return Revision(commit)


def _whereabouts(root: Path) -> list[bytes]:
    """Return the project's place in its repository, the repository's folder, its objects, HEAD.

    Raises:
        PerdureError: there is no repository, or no commit in it.
    """
    wanted = (("--show-prefix",), ("--absolute-git-dir",), ("--git-path", "objects"), ("HEAD",))
    # At once: each process of git's takes some milliseconds of a job's start.
    said = _ask(root, "rev-parse", *(word for words in wanted for word in words)).split(b"\n")
    if len(said) == len(wanted) + 1:
        return said[:-1]
    # A line break in a name: one by one they can be told apart.
    return [_ask(root, "rev-parse", *words).removesuffix(b"\n") for words in wanted]


@dataclass(frozen=True, slots=True)
class _Scratch:
    """A repository that borrows the user's commits, with `code` for its working tree."""

    code: Path
    environment: dict[str, str]

    @staticmethod
    @contextlib.contextmanager
    def open(folder: str, lent: str, code: Path, scratch: Path) -> Iterator[_Scratch]:
        """Yield one; `folder` and `lent` are where the user's repository and its objects are."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix=".patch-", dir=scratch) as aside:
            Path(aside, "objects").mkdir()
            own = {
                "GIT_DIR": folder,
                "GIT_WORK_TREE": str(code),
                "GIT_INDEX_FILE": f"{aside}/index",
                "GIT_OBJECT_DIRECTORY": f"{aside}/objects",
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(lent),
            }
            yield _Scratch(code, git_environment() | own)

    def patch(self, prefix: bytes, paths: Iterable[str]) -> bytes:
        """Return the patch from HEAD's `prefix` to the code; its paths begin at HEAD's top."""
        place = os.fsdecode(prefix)
        base = self._base(place.rstrip("/"))
        self._run("read-tree", base)
        tracked = os.fsdecode(self._run("ls-files", "-z")).split("\0")
        wanted = {path for path in (*tracked, *paths) if path.partition("/")[0] not in NEVER}
        # Path by path: `git add` would ask .gitignore, which has no say in what ran.
        listed = b"\0".join(os.fsencode(path) for path in sorted(wanted) if path)
        self._run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=listed)
        tree = self._run("write-tree").decode().strip()
        sides = (f"--src-prefix=a/{place}", f"--dst-prefix=b/{place}")
        return self._run(*_DIFF, *sides, base, tree)

    def _base(self, place: str) -> str:
        """Return the tree that HEAD has at the project's place; the empty one if it has none."""
        whole = ("rev-parse", "--verify", "--quiet", f"HEAD:{place}")
        try:
            return self._run(*whole).decode().strip()
        except PerdureError:
            if not place:
                raise
            return self._run("mktree").decode().strip()

    def _run(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        return _ask(self.code, *arguments, env=self.environment, stdin=stdin)


def _ask(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, stdin: bytes | None = None
) -> bytes:
    answer = git(folder, "-c", "core.safecrlf=false", *arguments, env=env, stdin=stdin)
    if answer.returncode != 0:
        raise PerdureError(f"`git {arguments[0]}` failed: {answer.complaint or 'no reason given'}")
    return answer.stdout


def _quoted(path: str) -> str:
    """Return a path for a list that colons divide: git takes such a one in C's quotes."""
    if ":" not in path and not path.startswith('"'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
