"""`perdure drill`: interrupt a task many times over, and compare what it comes to."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import whole_number
from perdure.cli.nearest import did_you_mean
from perdure.cli.render import Console

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
        type=float,
        default=TOLERANCE,
        metavar="X",
        help=f"how far metrics may differ where the baselines do ({TOLERANCE:g})",
    )
    parser.add_argument("--seed", type=whole_number, metavar="N", help="of the interruptions")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 if every run came to the same."""
    raise NotImplementedError


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
