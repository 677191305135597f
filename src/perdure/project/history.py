"""git, as perdure drives it, and the first commits of a new project.

No hook and no signing key of the user's has a say in what perdure commits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from perdure.errors import PerdureError
from perdure.hosts import local

TEMPLATE_REF = "refs/perdure/template"

_TIMEOUT_S = 120.0
_NOBODY = {"NAME": "perdure", "EMAIL": "perdure@localhost"}
# What a user has set for their own commits and has no place in ours.
_SETTINGS = ("-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgSign=false")
# Or a rendered file would be another one in git.
_AS_IT_IS = ("-c", "core.autocrlf=false", "-c", f"core.attributesFile={os.devnull}")
# These write a name into the history.
_SIGNED = ("commit", "commit-tree", "merge")


def belongs_elsewhere(folder: Path) -> bool:
    """Return whether a repository around the folder has it as a part: it does not ignore it.

    Raises:
        MissingProgram: there is no git.
    """
    inside = git(folder, "rev-parse", "--is-inside-work-tree")
    if inside.returncode != 0 or inside.text != "true":
        return False
    return git(folder, "check-ignore", "-q", ".").returncode != 0


def begin(folder: Path, names: Sequence[str], message: str) -> str:
    """Return the first commit of a new repository in `folder`, which holds the named files."""
    chosen = git(folder, "config", "init.defaultBranch").text or "main"
    must(folder, "init", "-q")
    must(folder, "symbolic-ref", "HEAD", f"refs/heads/{chosen}")
    first = commit(folder, names, message, parent=None)
    must(folder, "update-ref", TEMPLATE_REF, first)
    return first


def commit(folder: Path, names: Sequence[str], message: str, *, parent: str | None) -> str:
    """Return the commit that adds the named files to what is in the index; the branch is on it."""
    # By name and with force: a user's own ignore rules may not leave out the wheel.
    listed = "\0".join(names).encode()
    must(folder, "add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=listed)
    tree = must(folder, "write-tree")
    parents = ["-p", parent] if parent else []
    made = must(folder, "commit-tree", tree, *parents, "-m", message)
    must(folder, "update-ref", "-m", message, "HEAD", made)
    return made


def must(folder: Path, *words: str, stdin: bytes | None = None, index: Path | None = None) -> str:
    """Return what a git command wrote, without the space around it.

    Raises:
        PerdureError: it failed; git's own words are in the message.
    """
    completed = git(folder, *words, stdin=stdin, index=index)
    if completed.returncode != 0:
        raise PerdureError(f"`git {words[0]}` failed in `{folder}`: {completed.complaint}")
    return completed.text


def git(
    folder: Path, *words: str, stdin: bytes | None = None, index: Path | None = None
) -> local.Completed:
    """Return how a git command ended; `index` is one to use instead of the repository's own."""
    settings = (*_SETTINGS, *(_AS_IT_IS if words[0] == "add" else ()))
    environ = _environment() | ({"GIT_INDEX_FILE": str(index)} if index else {})
    if words[0] in _SIGNED:
        environ |= _identity(environ)
    argv = ["git", "-C", str(folder), *settings, *words]
    return local.run(argv, env=environ, stdin=stdin, timeout_s=_TIMEOUT_S)


def _environment() -> dict[str, str]:
    """Return the environment, without a repository that a hook around us is about.

    git answers in English: what it says is looked at.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    }
    return kept | {"LC_ALL": "C", "LANGUAGE": ""}


def _identity(environ: dict[str, str]) -> dict[str, str]:
    """Return what makes a user "perdure" who has told git no name, rather than refused."""
    named = local.run(["git", "config", "user.email"], env=environ, timeout_s=_TIMEOUT_S)
    if named.returncode == 0:
        return {}
    return {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in _NOBODY.items()
        if f"GIT_{role}_{part}" not in environ
    }
