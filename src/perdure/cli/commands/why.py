"""`perdure why`: what differs between two jobs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import JOB_HELP, add_json
from perdure.cli.render import Console
from perdure.cli.table import Column, make_table, shorten

if TYPE_CHECKING:
    from perdure.jobs.compare import Comparison, Differences

VALUE_PLACES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `why` takes."""
    parser.add_argument("job", metavar="A", help=JOB_HELP)
    parser.add_argument("jobs", metavar="B", help="the job to compare it with")
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after naming what differs, and whether the results do."""
    from perdure.jobs.compare import same_result, why
    from perdure.jobs.find import find_job
    from perdure.jobs.workspace import locate_workspace

    workspace = locate_workspace(Path.cwd())
    before, after = (find_job(workspace, job) for job in (arguments.job, arguments.jobs))
    found, result = why(before, after), same_result(before, after)
    if arguments.json:
        console.json(as_json(found, result))
        return 0
    if found.items:
        columns = (Column("WHAT"), Column("NAME"), Column(before.job), Column(after.job))
        rows = [
            (item.aspect.value, item.name, value(item.before), value(item.after))
            for item in found.items
        ]
        console.table(make_table(columns, rows))
    else:
        console.lines(["nothing differs: code, environment, arguments, seed, data, machine"])
    if found.unknown:
        aspects = ", ".join(aspect.value for aspect in found.unknown)
        console.say(f"not compared in full: {aspects}")
    console.lines([about_results(result)])
    return 0


def value(text: str) -> str:
    """Return one side of a difference: `-` where that side has nothing."""
    return shorten(text, VALUE_PLACES) or "-"


def about_results(result: Comparison) -> str:
    """Return whether the jobs came to the same."""
    if result.same:
        return f"same result: weights {result.weights[:16]}, {result.rows} metric rows"
    return f"not the same result: {result.reason}"


def as_json(found: Differences, result: Comparison) -> dict[str, object]:
    """Return all of it for a program."""
    return {
        "differences": [
            {
                "aspect": item.aspect.value,
                "name": item.name,
                "before": item.before,
                "after": item.after,
            }
            for item in found.items
        ],
        "unknown": [aspect.value for aspect in found.unknown],
        "same_result": result.same,
        "reason": result.reason,
    }
