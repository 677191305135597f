"""`perdure completion`: a script that teaches a shell verbs, options, tasks, jobs and targets."""

from __future__ import annotations

import argparse

from perdure.cli.render import Console

SHELLS = ("bash", "zsh", "tcsh")

# Jobs and tasks are asked of perdure whenever they are completed, so they are never out of date.
NAMES = {
    "job": "perdure ps --names jobs",
    "jobs": "perdure ps --names jobs",
    "task": "perdure ps --names tasks",
    "target": "perdure targets --names",
    "targets": "perdure targets --names",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `completion` takes."""
    parser.add_argument("shell", choices=SHELLS, help="the shell to write the script for")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after writing the script to standard output."""
    import shtab

    console.write(shtab.complete(every_verb(), shell=arguments.shell).rstrip() + "\n")
    return 0


def every_verb() -> argparse.ArgumentParser:
    """Return one parser that has every verb; imports all their modules."""
    from importlib import import_module

    from perdure.cli.verb import TASK
    from perdure.cli.verbs import VERBS

    parser = argparse.ArgumentParser(prog="perdure")
    parser.add_argument("--version", action="store_true", help="show the version")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers()
    for verb in VERBS:
        child = verbs.add_parser(verb.name, help=verb.summary)
        import_module(verb.module).add_arguments(child)
        if verb.rest == TASK:
            # Cut off by perdure itself before argparse sees it: no parser of ours has it.
            child.add_argument("task", metavar="TASK")
        complete_names(child)
    return parser


def complete_names(parser: argparse.ArgumentParser) -> None:
    """Let the words that name jobs, tasks and targets be completed."""
    import shtab

    for action in parser._actions:  # noqa: SLF001 - argparse shows its actions nowhere else
        if action.dest in NAMES:
            action.complete = shtab.cmd(NAMES[action.dest])  # type: ignore[attr-defined]
