"""`perdure clean`: delete what is done with, here, on a host or in a bucket."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import JOB_HELP, add_json, add_yes, seconds
from perdure.cli.moving import ALL, ON_HELP, WORDS, check_jobs
from perdure.cli.render import Console
from perdure.cli.words import counted, size

if TYPE_CHECKING:
    from perdure.jobs.clean import Cleaned, Deletable
    from perdure.jobs.workspace import Workspace

MOST_NAMED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `clean` takes."""
    parser.add_argument("what", choices=(*WORDS, ALL), help="what to clean")
    parser.add_argument(
        "jobs",
        metavar="JOB",
        nargs="*",
        help=f"with `results`: {JOB_HELP}; without any, all that have ended",
    )
    parser.add_argument("--on", dest="target", metavar="WHERE", help=f"{ON_HELP} (here)")
    parser.add_argument(
        "--older-than",
        type=seconds,
        metavar="TIME",
        help="with `results`, only jobs that ended so long ago",
    )
    parser.add_argument(
        "-n",
        "--dry-run",
        action="store_true",
        help="tell what would be deleted, and delete nothing",
    )
    add_yes(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once what was chosen is deleted, or the user said no."""
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    check_jobs(arguments.what, arguments.jobs)
    if arguments.target is not None or arguments.what != "results":
        from perdure.cli.cleaning import clean

        return clean(workspace, arguments, console)
    return clean_results(workspace, arguments, console)


def clean_results(workspace: Workspace, arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the jobs' run folders here are deleted, and what only they needed."""
    from perdure.jobs.clean import deletable, delete, unneeded
    from perdure.jobs.find import find_job

    named = [find_job(workspace, job).job for job in arguments.jobs]
    before = time.time() - (arguments.older_than or 0)
    chosen = [each for each in deletable(workspace, named) if ended_at(each) <= before]
    rest = ([], []) if chosen else unneeded(workspace)
    asked = question(chosen) if chosen else question_of_rest(*rest)
    for line in elsewhere(chosen):
        console.say(line)
    if arguments.dry_run:
        console.say(asked or "nothing to delete")
    if arguments.dry_run or not may_delete(asked, named, arguments, console):
        if arguments.json:
            console.json(as_json(planned(chosen, *rest), deleted=False))
        return 0
    cleaned = delete(workspace, chosen, report=console)
    if arguments.json:
        console.json(as_json(cleaned, deleted=True))
    else:
        tell(cleaned, console, nothing_chosen=not chosen)
    return 0


def may_delete(
    asked: str, named: Sequence[str], arguments: argparse.Namespace, console: Console
) -> bool:
    """Return whether the user wants it, or there is nothing to ask about."""
    if not asked or arguments.yes:
        return True
    return console.confirm(
        asked, unasked=shlex.join(["perdure", "clean", "results", *named, "--yes"])
    )


def planned(
    chosen: Sequence[Deletable], snapshots: Sequence[Path], environments: Sequence[Path]
) -> Cleaned:
    """Return what would be deleted, as far as it is known before the jobs are gone."""
    from perdure.jobs.clean import Cleaned

    return Cleaned(
        tuple(each.status.record.job for each in chosen),
        tuple(each.name for each in snapshots),
        tuple(each.name for each in environments),
        sum(each.bytes for each in chosen),
    )


def tell(cleaned: Cleaned, console: Console, *, nothing_chosen: bool) -> None:
    """Say what was deleted."""
    if nothing_chosen:
        console.say("no job to delete: those that could go on are deleted only when named")
    parts = [(len(cleaned.jobs), "job"), (len(cleaned.snapshots), "snapshot")]
    parts.append((len(cleaned.environments), "environment"))
    told = [counted(number, noun) for number, noun in parts if number]
    if told:
        console.say(f"deleted {', '.join(told)}: {size(cleaned.bytes)}")


def as_json(cleaned: Cleaned, *, deleted: bool) -> dict[str, object]:
    """Return what was deleted, or would be, for a program."""
    return {
        "deleted": deleted,
        "jobs": list(cleaned.jobs),
        "snapshots": list(cleaned.snapshots),
        "environments": list(cleaned.environments),
        "bytes": cleaned.bytes,
    }


def ended_at(item: Deletable) -> float:
    """Return when a job ended or was last heard of (unix seconds)."""
    status = item.status
    return status.ended or status.last_event_at or 0.0


def question(chosen: Sequence[Deletable]) -> str:
    """Return what is asked before anything is deleted."""
    names = [each.status.record.job for each in chosen[:MOST_NAMED]]
    more = [f"and {len(chosen) - MOST_NAMED} more"] if len(chosen) > MOST_NAMED else []
    total = size(sum(each.bytes for each in chosen))
    jobs = ", ".join([*names, *more])
    return f"delete {counted(len(chosen), 'job')} with their checkpoints ({total}): {jobs}?"


def elsewhere(chosen: Sequence[Deletable]) -> list[str]:
    """Return what is said of jobs that ran on other hosts: only what is here of them goes."""
    away: dict[str, list[str]] = {}
    for each in chosen:
        if each.status.asked_at is not None:
            away.setdefault(each.status.target, []).append(each.status.record.job)
    return [
        f"what `{target}` has of {counted(len(jobs), 'job')} stays there; there and here: "
        f"perdure clean results {' '.join(jobs[:MOST_NAMED])} --on {target}"
        for target, jobs in away.items()
    ]


def question_of_rest(snapshots: Sequence[Path], environments: Sequence[Path]) -> str:
    """Return what is asked where only what no job needs would be deleted; empty if nothing would.

    What goes can be made again: the code is in the project, the environment in its lock.
    """
    parts = [(len(snapshots), "snapshot"), (len(environments), "environment")]
    told = [counted(number, noun) for number, noun in parts if number]
    return f"delete {' and '.join(told)} that no job needs?" if told else ""
