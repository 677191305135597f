"""`perdure sweep`: jobs made from axes, and the sweeps that are there."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_json, add_yes, whole_number
from perdure.cli.commands.run import add_limits
from perdure.cli.render import Console
from perdure.cli.resources import add_resources, add_target
from perdure.errors import UsageError

WORDS = ("status", "results", "retry", "stop", "resume", "extend")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `sweep` takes; a task's own arguments follow `--`."""
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="*",
        help=f"a task and its axes, or {', '.join(WORDS)} and the name of a sweep",
    )
    add_submission(parser)
    add_limits(parser)
    add_target(parser)
    # What is typed goes before a file's `on`, also `--on local`.
    parser.set_defaults(target=None)
    add_resources(parser)
    add_looking(parser)
    parser.add_argument(
        "--explain", action="store_true", help="print the jobs and their arguments; run nothing"
    )
    add_yes(parser)


def add_submission(parser: argparse.ArgumentParser) -> None:
    """Add what a sweep is made of."""
    parser.add_argument("--file", type=Path, metavar="FILE", help="a sweep.toml that says it all")
    parser.add_argument("--name", help="the sweep's name; two words if not given")
    parser.add_argument(
        "--max-running",
        type=whole_number,
        metavar="N",
        help="at most so many at a time (cores; on a cluster as many as it starts)",
    )
    parser.add_argument(
        "--seed", type=whole_number, metavar="N", help="of all its jobs; drawn if not given"
    )
    parser.add_argument("--variant", help="the environment's variant, such as cpu or cuda")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY[=VALUE]",
        help="a variable for the jobs; KEY alone passes yours on, and is how to pass a secret",
    )
    parser.add_argument(
        "--trials", type=whole_number, metavar="N", help="`extend`: so many more, where drawn"
    )


def add_looking(parser: argparse.ArgumentParser) -> None:
    """Add what `status`, `results` and `retry` take."""
    parser.add_argument("--metric", help="the metric to compare by (the first that was logged)")
    parser.add_argument("--csv", action="store_true", help="`results`: write CSV")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="`results`: draw it against the axes, as SVG"
    )
    parser.add_argument("--failed", action="store_true", help="`retry`: those that failed")
    parser.add_argument(
        "--cancelled", action="store_true", help="`retry`: those that were killed, too"
    )
    parser.add_argument("-w", "--watch", action="store_true", help="`status`: refresh until Ctrl-C")
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the sweep is submitted, or what was asked is told or done."""
    word, names = chosen(tuple(arguments.words), arguments.file is not None)
    if not word:
        from perdure.cli.sweeping import submit_sweep

        return submit_sweep(arguments, names, console)
    from perdure.cli import sweep_words

    return sweep_words.carry_out(word, names, arguments, console)


def chosen(words: tuple[str, ...], has_file: bool) -> tuple[str, tuple[str, ...]]:
    """Return which of `WORDS` is meant and what follows it; "" for a sweep to be submitted.

    A task of such a name is one where axes follow it, or a file says what they are.

    Raises:
        UsageError: nothing is said.
    """
    if not words and not has_file:
        raise UsageError(
            "name a task and its axes", hint="perdure sweep TASK lr=1e-3,1e-4 seed=0..4"
        )
    if not words or words[0] not in WORDS or has_file or "=" in "".join(words[1:2]):
        return "", words
    return words[0], words[1:]
