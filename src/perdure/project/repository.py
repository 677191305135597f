"""The git repository around a project: what it holds, and merges into it by git's own plumbing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import ConflictError, PerdureError, UsageError
from perdure.project.find import PROJECT_FILE
from perdure.project.history import git, must

# What says that git has not ended something, and how that is ended.
_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository's work tree begins, and the project in it: `prefix` is `""` or `sub/`."""

    top: Path
    root: Path
    prefix: str


def open_repository(root: Path) -> Repository:
    """Return the repository that has the project in `root`, in its last commit. Runs git.

    Raises:
        UsageError: there is none, or the project is in no commit of it.
        MissingProgram: there is no git.
    """
    inside = git(root, "rev-parse", "--show-toplevel")
    if inside.returncode != 0:
        lacks = "not a git repository" in inside.complaint
        raise UsageError(
            f"`{root}` is in no git repository, which an upgrade needs"
            if lacks
            else f"git cannot be used in `{root}`: {inside.complaint}",
            hint="git init && git add . && git commit -m 'Begin', then perdure upgrade"
            if lacks
            else "what git says above",
        )
    found = Repository(Path(_line(inside.stdout)), root, _line(_raw(root, "--show-prefix")))
    if git(root, "cat-file", "-e", f"HEAD:{found.prefix}{PROJECT_FILE}").returncode != 0:
        raise UsageError(
            f"the project in `{root}` is not committed yet",
            hint="git add . && git commit -m 'Begin', then perdure upgrade",
        )
    return found


def refuse_unfinished(found: Repository) -> None:
    """Return if git has nothing uncommitted, and nothing half done.

    Raises:
        ConflictError: it has, and what.
    """
    for name, verb in _UNFINISHED.items():
        place = must(found.top, "rev-parse", "--git-path", name)
        if (found.top / place).exists():
            raise ConflictError(
                f"a {verb} is not finished in `{found.top}`",
                hint=f"git {verb} --continue, or git {verb} --abort",
            )
    listed = _entries(
        git(found.top, "diff", "--ignore-submodules=dirty", "--name-only", "-z", "HEAD").stdout
    )
    if listed:
        raise ConflictError(
            f"there are uncommitted changes: {_named(listed)}",
            hint="git commit -a, or git stash; then again",
        )


def files_of(found: Repository, treeish: str) -> dict[str, str]:
    """Return the blob ids of the files of a tree, by their names relative to it."""
    listed = git(found.top, "ls-tree", "-r", "-z", "--full-tree", treeish)
    if listed.returncode != 0:
        raise PerdureError(f"git cannot read `{treeish}`: {listed.complaint}")
    entries = (entry.partition("\t") for entry in _entries(listed.stdout))
    return {name: facts.split()[2] for facts, _, name in entries if facts.split()[1] == "blob"}


def tree_of(found: Repository, commit: str) -> str | None:
    """Return the tree of a commit, None where the repository does not have it."""
    answer = git(found.top, "rev-parse", "--verify", "-q", f"{commit}^{{tree}}")
    return answer.text if answer.returncode == 0 else None


def missing(found: Repository, blobs: Mapping[str, str]) -> list[str]:
    """Return the names of those blobs that the repository does not have."""
    asked = "".join(f"{blob}\n" for blob in blobs.values()).encode()
    told = must(found.top, "cat-file", "--batch-check=%(objecttype)", stdin=asked).splitlines()
    return [name for name, kind in zip(blobs, told, strict=True) if kind != "blob"]


def store(found: Repository, content: bytes) -> str:
    """Return git's name for a content, after keeping it."""
    return must(found.top, "hash-object", "-w", "--stdin", stdin=content)


def make_tree(found: Repository, blobs: Mapping[str, str]) -> str:
    """Return the tree that has the named blobs as files of the project, and nothing else."""
    lines = "".join(f"100644 {blob}\t{found.prefix}{name}\0" for name, blob in blobs.items())
    with tempfile.TemporaryDirectory(prefix="perdure-") as folder:
        index = Path(folder) / "index"
        words = ("update-index", "-z", "--index-info")
        must(found.top, *words, stdin=lines.encode(), index=index)
        return must(found.top, "write-tree", index=index)


def merge(found: Repository, base: str, theirs: str, message: str) -> None:
    """Merge a commit on top of `base`, without committing; conflicts are left as git leaves them.

    A history that does not hold `base` is joined with it first, by a merge that changes no file.

    Raises:
        ConflictError: untracked files are in the way.
        PerdureError: git failed otherwise.
    """
    before = must(found.top, "rev-parse", "HEAD")
    if git(found.top, "merge-base", "--is-ancestor", base, before).returncode != 0:
        _join(found, base, before)
    words = ("--no-commit", "--no-ff", "--no-verify-signatures", "--no-autostash", "-m", message)
    done = git(found.top, "merge", *words, theirs)
    if git(found.top, "rev-parse", "--verify", "-q", "MERGE_HEAD").returncode == 0:
        return
    must(found.top, "update-ref", "HEAD", before)
    if "would be overwritten" in done.complaint:
        lines = (line for line in done.complaint.splitlines() if line.startswith("\t"))
        raise ConflictError(
            f"files that git does not track are in the way: {_named([x.strip() for x in lines])}",
            hint="move them, or commit them; then again",
        )
    raise PerdureError(f"`git merge` failed in `{found.top}`: {done.complaint or done.text}")


def unmerged(found: Repository) -> tuple[str, ...]:
    """Return the files with conflicts."""
    words = ("diff", "--name-only", "--diff-filter=U", "-z")
    return tuple(dict.fromkeys(_entries(git(found.top, *words).stdout)))


def is_shallow(found: Repository) -> bool:
    """Return whether the repository was cloned without its history."""
    return must(found.top, "rev-parse", "--is-shallow-repository") == "true"


def _join(found: Repository, base: str, head: str) -> None:
    message = "Say where this project's template came from\n\nNo file is changed."
    parents = ("-p", head, "-p", base)
    joined = must(found.top, "commit-tree", f"{head}^{{tree}}", *parents, "-m", message)
    must(found.top, "update-ref", "-m", "join the template", "HEAD", joined)


def _raw(root: Path, question: str) -> bytes:
    return git(root, "rev-parse", question).stdout


def _line(output: bytes) -> str:
    """Return a path that git printed, whose own spaces are kept."""
    return output.decode("utf-8", "surrogateescape").removesuffix("\n")


def _entries(output: bytes) -> list[str]:
    return [entry for entry in output.decode("utf-8", "surrogateescape").split("\0") if entry]


def _named(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
