"""`perdure drill`: interrupt a task many times over, and compare what it comes to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import tolerance, whole_number
from perdure.cli.nearest import did_you_mean
from perdure.cli.render import Console
from perdure.cli.resources import add_resources, add_target, chosen_resources
from perdure.cli.signals import as_ctrl_c
from perdure.errors import DifferenceError

if TYPE_CHECKING:
    from perdure.drill.report import DrillReport

KINDS = ("term", "kill", "file", "mid-save", "startup", "eval", "double")
RUNS = 20
TOLERANCE = 1e-5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `drill` takes; the task's own arguments follow `--`."""
    parser.add_argument("task", metavar="TASK", help="the task to interrupt")
    parser.add_argument(
        "-n", dest="runs", type=whole_number, default=RUNS, metavar="N", help=f"runs ({RUNS})"
    )
    parser.add_argument(
        "--kinds",
        type=kinds,
        default=KINDS,
        metavar="KIND,...",
        help=f"how to interrupt: {', '.join(KINDS)} (all)",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="leave out each tracked item in turn, and see that the drill notices",
    )
    parser.add_argument(
        "--tolerance",
        type=tolerance,
        default=TOLERANCE,
        metavar="X",
        help=f"how far metrics may differ where the baselines do ({TOLERANCE:g})",
    )
    add_repetition(parser)
    add_target(parser)
    add_resources(parser)


def add_repetition(parser: argparse.ArgumentParser) -> None:
    """Add what makes a drill the same again, or its traces stay."""
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=0,
        metavar="N",
        help="of the training and of the interruptions (0)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the run folders")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 if every run came to the same.

    Raises:
        DifferenceError: one did not, or an item can be lost unseen; the report says which.
    """
    from perdure.drill.report import lines, summary
    from perdure.drill.session import DrillOptions, run_drill
    from perdure.jobs.workspace import open_workspace

    task: str = arguments.task
    options = DrillOptions(
        task=task,
        arguments=arguments.rest,
        runs=arguments.runs,
        kinds=arguments.kinds,
        self_test=arguments.self_test,
        tolerance=arguments.tolerance,
        seed=arguments.seed,
        keep=arguments.keep,
        target=arguments.target,
        resources=chosen_resources(arguments),
    )
    with as_ctrl_c():
        report = run_drill(open_workspace(Path.cwd()), options, console)
    console.lines(lines(report))
    if report.passed:
        return 0
    raise DifferenceError(f"the drill of `{task}` failed: {summary(report)}", hint=hint(report))


def hint(report: DrillReport) -> str:
    """Return where to look after a drill that failed."""
    folder = report.folder
    return f"the run folders are kept in `{folder}`" if folder else "perdure drill --keep"


def kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of interruption in a list such as `term,kill`."""
    chosen = tuple(filter(None, (word.strip() for word in text.split(","))))
    for word in chosen:
        if word not in KINDS:
            hint = did_you_mean(word, KINDS, f"one of {', '.join(KINDS)}")
            raise argparse.ArgumentTypeError(f"`{word}` is no kind of interruption; {hint}")
    if not chosen:
        raise argparse.ArgumentTypeError(f"name at least one of {', '.join(KINDS)}")
    return chosen
