"""What a job's code is in terms of git: a commit, and a patch that leads from it to the code.

The patch is made from the snapshot itself, so that it cannot tell of another moment, with an index
and a store of objects of its own: the user's repository is only read.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import PerdureError
from perdure.jobs.listing import EXCLUDED, git, git_environment
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
    root: Path, code: Path, *, scratch: Path, left_out: Iterable[str] = (), report: Report
) -> Revision:
    """Return what the files in `code` are in terms of the repository that `root` lies in.

    `code` is a snapshot of `root`, or `root` itself, whose ignored files do not count; `left_out`
    are paths that do not count either. Runs git; writes in `scratch` only.
    """
    try:
        head = _ask(root, "rev-parse", "--verify", "--quiet", "HEAD")
        prefix = _ask(root, "rev-parse", "--show-prefix")
    except PerdureError:
        return Revision(None)
    commit = head.decode().strip()
    try:
        with _Scratch.open(root, code, scratch) as repository:
            excluded = [*sorted(EXCLUDED), *left_out]
            return Revision(commit, repository.patch(prefix.removesuffix(b"\n"), excluded))
    except PerdureError as error:
        report(f"warning: uncommitted changes are not recorded as a patch: {error.message}")
        return Revision(commit)


@dataclass(frozen=True, slots=True)
class _Scratch:
    """A repository that borrows the user's commits, with `code` for its working tree."""

    code: Path
    own: bool
    environment: dict[str, str]

    @staticmethod
    @contextlib.contextmanager
    def open(root: Path, code: Path, scratch: Path) -> Iterator[_Scratch]:
        folder = _ask(root, "rev-parse", "--absolute-git-dir").removesuffix(b"\n")
        objects = _ask(root, "rev-parse", "--git-path", "objects").removesuffix(b"\n")
        lent = os.path.join(root, os.fsdecode(objects))  # noqa: PTH118 - as git will read it
        with tempfile.TemporaryDirectory(prefix=".patch-", dir=scratch) as aside:
            own = {
                "GIT_DIR": os.fsdecode(folder),
                "GIT_WORK_TREE": str(code),
                "GIT_INDEX_FILE": f"{aside}/index",
                "GIT_OBJECT_DIRECTORY": f"{aside}/objects",
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(lent),
            }
            yield _Scratch(code, code == root, git_environment() | own)

    def patch(self, prefix: bytes, excluded: Iterable[str]) -> bytes:
        """Return the patch from HEAD's `prefix` to the code; its paths begin at HEAD's top."""
        place = os.fsdecode(prefix)
        base = self._base(place.rstrip("/"))
        self._run("read-tree", base)
        # A snapshot holds nothing that git ignores, save what is tracked all the same.
        forced = () if self.own else ("--force",)
        # From the top of this repository's tree, which is the project: git looks at no parent.
        left_out = [f":(top,exclude,literal){path}" for path in excluded]
        self._run("add", "--all", *forced, "--", ":(top)", *left_out)
        tree = self._run("write-tree").decode().strip()
        sides = (f"--src-prefix=a/{place}", f"--dst-prefix=b/{place}")
        return self._run(*_DIFF, *sides, base, tree)

    def _base(self, place: str) -> str:
        """Return the tree that HEAD has at the project's place; the empty one if it has none."""
        try:
            return self._run("rev-parse", "--verify", "--quiet", f"HEAD:{place}").decode().strip()
        except PerdureError:
            return self._run("mktree").decode().strip()

    def _run(self, *arguments: str) -> bytes:
        return _ask(self.code, *arguments, env=self.environment)


def _ask(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> bytes:
    settings = ("-c", "core.safecrlf=false", "-c", "advice.addEmbeddedRepo=false")
    answer = git(folder, *settings, *arguments, env=env)
    if answer.returncode != 0:
        raise PerdureError(f"`git {arguments[0]}` failed: {answer.complaint or 'no reason given'}")
    return answer.stdout


def _quoted(path: str) -> str:
    """Return a path for a list that colons divide: git takes such a one in C's quotes."""
    if ":" not in path and not path.startswith('"'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
