"""The first commits of a new project.

Made with git's plumbing: no hook and no signing key of the user's has a say in them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from perdure.errors import PerdureError
from perdure.hosts import local

TEMPLATE_REF = "refs/perdure/template"

_TIMEOUT_S = 60.0
_NOBODY = {"NAME": "perdure", "EMAIL": "perdure@localhost"}


def belongs_elsewhere(folder: Path) -> bool:
    """Return whether a repository around the folder has it as a part: it does not ignore it.

    Raises:
        MissingProgram: there is no git.
    """
    inside = _git(folder, "rev-parse", "--is-inside-work-tree")
    if inside.returncode != 0 or inside.text != "true":
        return False
    return _git(folder, "check-ignore", "-q", ".").returncode != 0


def begin(folder: Path, names: Sequence[str], message: str) -> str:
    """Return the first commit of a new repository in `folder`, which holds the named files."""
    chosen = _git(folder, "config", "init.defaultBranch").text or "main"
    _must(folder, "init", "-q")
    _must(folder, "symbolic-ref", "HEAD", f"refs/heads/{chosen}")
    first = commit(folder, names, message, parent=None)
    _must(folder, "update-ref", TEMPLATE_REF, first)
    return first


def commit(folder: Path, names: Sequence[str], message: str, *, parent: str | None) -> str:
    """Return the commit that adds the named files to what is in the index; the branch is on it."""
    # By name and with force: a user's own ignore rules may not leave out the wheel.
    listed = "\0".join(names).encode()
    _must(folder, "add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=listed)
    tree = _must(folder, "write-tree")
    parents = ["-p", parent] if parent else []
    made = _must(folder, "commit-tree", tree, *parents, "-m", message)
    _must(folder, "update-ref", "-m", message, "HEAD", made)
    return made


def _must(folder: Path, *words: str, stdin: bytes | None = None) -> str:
    completed = _git(folder, *words, stdin=stdin)
    if completed.returncode != 0:
        raise PerdureError(f"`git {words[0]}` failed in `{folder}`: {completed.complaint}")
    return completed.text


def _git(folder: Path, *words: str, stdin: bytes | None = None) -> local.Completed:
    argv = ["git", "-C", str(folder), "-c", "core.autocrlf=false", *words]
    return local.run(argv, env=_environment(), stdin=stdin, timeout_s=_TIMEOUT_S)


def _environment() -> dict[str, str]:
    """Return the environment, without a repository that a hook around us is about.

    Who has told git no name is "perdure" here, rather than refused.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    }
    return kept | _identity(kept)


def _identity(environ: dict[str, str]) -> dict[str, str]:
    named = local.run(["git", "config", "user.email"], env=environ, timeout_s=_TIMEOUT_S)
    if named.returncode == 0:
        return {}
    return {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in _NOBODY.items()
        if f"GIT_{role}_{part}" not in environ
    }
