"""What `clean` does elsewhere, and here with what is no run folder: it shows, asks, and deletes."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perdure.cli.moving import ALL, WORDS, other_side
from perdure.cli.render import Console
from perdure.cli.words import counted, printable, size
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace
    from perdure.moving.clean import Doomed
    from perdure.moving.far import Far
    from perdure.moving.selection import Selection

MOST_NAMED = 5


def clean(workspace: Workspace, arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once what was chosen is deleted, or the user said no."""
    console(f"looking at what there is of {arguments.what}")
    doomed = [each for each in _found(workspace, arguments) if each.names]
    where = arguments.target or "here"
    deleted = False
    if not doomed:
        console.say(f"nothing of {arguments.what} to delete {_place(where)}")
    elif arguments.dry_run:
        console.say(f"would delete {_shown(doomed)}")
    elif _may_delete(doomed, arguments, console):
        deleted = True
        _delete(doomed, console)
        if any(each.word == "results" for each in doomed):
            _sweep(workspace, arguments.target)
    if arguments.json:
        console.json([as_json(each, deleted=deleted) for each in doomed])
    return 0


def as_json(doomed: Doomed, *, deleted: bool) -> dict[str, object]:
    """Return what was or would be deleted, for a program."""
    return {
        "word": doomed.word,
        "where": doomed.where,
        "names": list(doomed.names),
        "files": doomed.files,
        "bytes": doomed.bytes,
        "deleted": deleted,
    }


def _found(workspace: Workspace, arguments: argparse.Namespace) -> list[Doomed]:
    from perdure.moving.address import Address
    from perdure.moving.clean import doomed_in_bucket

    words = WORDS if arguments.what == ALL else (arguments.what,)
    if arguments.target is None:
        return [_here(workspace, arguments.what)]
    other = other_side(workspace, arguments.target)
    if isinstance(other, Address):
        if arguments.jobs or arguments.older_than:
            raise UsageError(
                "in a bucket, results go all together",
                hint=f"perdure clean results --on {other}",
            )
        return [doomed_in_bucket(other, word) for word in words]
    return [each for word in words for each in _there(workspace, other, word, arguments)]


def _there(
    workspace: Workspace, other: Far, word: str, arguments: argparse.Namespace
) -> list[Doomed]:
    from perdure.cli.mirrored import chosen_jobs, with_mirrors
    from perdure.moving.clean import doomed_there

    selection, name = _selection(workspace, word), other.host.name
    if word != "results":
        return [doomed_there(other, selection, name, lambda name, newest: True)]
    chosen = chosen_jobs(workspace, arguments)
    return with_mirrors(workspace, name, doomed_there(other, selection, name, chosen), chosen)


def _selection(workspace: Workspace, word: str) -> Selection:
    from perdure.moving.selection import select, select_code

    root = workspace.project.root
    if word == "code":
        code = select_code(root, ())
        return replace(code, apart=code.apart | {"notebooks"})
    return select(word, root)


def _here(workspace: Workspace, word: str) -> Doomed:
    from perdure.jobs.listing import git
    from perdure.moving.clean import doomed_here
    from perdure.moving.selection import select

    if word in ("code", ALL):
        raise UsageError(
            f"`perdure clean {word}` deletes on another host or in a bucket, never here",
            hint=f"perdure clean {word} --on WHERE",
        )
    root = workspace.project.root
    # What git has is the project's own: a README of the folder, a notebook that was committed.
    done = git(root, "ls-files", "-z", "--", word)
    tracked = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    kept = [path.removeprefix(f"{word}/") for path in tracked if path]
    return doomed_here(select(word, root), kept)


def _may_delete(doomed: Sequence[Doomed], arguments: argparse.Namespace, console: Console) -> bool:
    if arguments.yes:
        return True
    words = ["perdure", "clean", arguments.what, *arguments.jobs]
    where = ["--on", arguments.target] if arguments.target else []
    unasked = shlex.join([*words, *where, "--yes"])
    return console.confirm(f"delete {_shown(doomed)}?", unasked=unasked)


def _delete(doomed: Sequence[Doomed], console: Console) -> None:
    told: set[str] = set()
    for each in doomed:
        console(f"deleting {each.word} {_place(each.where)}")
        left = each.delete()
        gone = [name for name in each.names if name not in left]
        for name in {*left} - told:
            console.say(f"warning: job `{name}` is running; it is left")
        told.update(left)
        if gone:
            console.say(f"deleted {each.word} {_place(each.where)}: {_amount(each)}")


def _sweep(workspace: Workspace, text: str | None) -> None:
    """Delete the snapshots on a host that no job there needs any more, if it can be asked."""
    from perdure.errors import PerdureError
    from perdure.jobs.elsewhere import sweep
    from perdure.jobs.workspace import submitting
    from perdure.targets.registry import open_target

    if text in workspace.settings.targets:
        # Nor where a job is being submitted, whose snapshot no job names yet.
        with contextlib.suppress(PerdureError), submitting(workspace.project, alone=True):
            sweep(open_target(str(text), workspace.project, workspace.settings).place)


def _shown(doomed: Sequence[Doomed]) -> str:
    return "; ".join(f"{each.word} {_place(each.where)}: {_listed(each)}" for each in doomed)


def _listed(each: Doomed) -> str:
    shown = [printable(name) for name in each.names[:MOST_NAMED]]
    more = len(each.names) - len(shown)
    names = ", ".join([*shown, *([f"and {more} more"] if more else [])])
    return f"{_amount(each)} ({names})"


def _amount(each: Doomed) -> str:
    return f"{counted(each.files, 'file')}, {size(each.bytes)}"


def _place(where: str) -> str:
    if where == "here":
        return where
    return f"in {where}" if "://" in where else f"on {where}"
