"""What of a project a word of the command line means: code, data, notebooks, results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.model.code import CLUTTER, NEVER
from perdure.runtime import names

WORDS = ("code", "data", "notebooks", "results")
# Ours, in a folder that lies on another disk than the project: what is not whole yet.
STAGING = ".perdure-moving"
CHECKPOINTS_WHY = "checkpoints (`--checkpoints` moves them)"
# Where a project's own folders begin; the code is what lies around them.
_APART = frozenset({*NEVER, STAGING})
# Data sets and results have folders called `build` and `dist`, too.
_CLUTTER = CLUTTER - {"build", "dist"}
# What concerns one machine only, or would be heard as a request by a job.
_OWN = frozenset({names.LOCK_FILE, names.PREEMPT, names.CANCEL, "witness.json"})

# Tells of a path why it is left out: None where it is not, "" where nobody wants to know.
Skip = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Selection:
    """A word, where its folder is here, and what of it is moved.

    `below` is the folder's path from the root of the project, "" for the root itself. `only` are
    the paths that count here, None for all. `apart` are names at its top that are not entered.
    """

    word: str
    near: Path
    below: str
    skip: Skip
    only: Collection[str] | None = None
    apart: frozenset[str] = frozenset({STAGING})
    # A link out of data is a data set that lies elsewhere: its contents are meant.
    follows: bool = False
    # What is there already is never replaced: a job's folder belongs to where the job runs.
    adds_only: bool = False
    # It may grow while it is read, and is good for reading at any time.
    is_alive: bool = False
    # Tells which of the paths of the other side are none of the project's here.
    ignored: Callable[[Sequence[str]], Collection[str]] | None = None


def select(word: str, root: Path) -> Selection:
    """Return what a word other than `code` and `results` means in the project at `root`. Pure."""
    return Selection(word, root / word, word, _skip_clutter, follows=word == "data")


def select_code(
    root: Path,
    paths: Collection[str],
    ignored: Callable[[Sequence[str]], Collection[str]] | None = None,
) -> Selection:
    """Return the code of the project at `root`: these paths of it. Pure."""
    return Selection("code", root, "", _skip_clutter, only=paths, apart=_APART, ignored=ignored)


def select_results(
    root: Path, *, checkpoints: bool = False, jobs: Collection[str] = ()
) -> Selection:
    """Return the run folders of the project at `root`, those of some `jobs` only if any. Pure."""
    skip = skip_results(checkpoints=checkpoints, jobs=frozenset(jobs))
    word = "results"
    return Selection(word, root / word, word, skip, adds_only=True, is_alive=True)


def skip_results(*, checkpoints: bool, jobs: frozenset[str] = frozenset()) -> Skip:
    """Return what of run folders is left out: locks, drafts, and checkpoints unless asked for."""

    def skip(path: str) -> str | None:
        parts = path.split("/")
        if parts[0].startswith(".") or (jobs and parts[0] not in jobs):
            return ""
        if len(parts) < 2:
            return None
        if parts[1] in _OWN or parts[1].startswith("."):
            return ""
        if parts[1] != names.CHECKPOINTS:
            return None
        if not checkpoints:
            return CHECKPOINTS_WHY
        return "" if len(parts) > 2 and parts[2].startswith(("tmp-", "del-")) else None

    return skip


def _skip_clutter(path: str) -> str | None:
    return "" if _CLUTTER.intersection(path.split("/")) else None
