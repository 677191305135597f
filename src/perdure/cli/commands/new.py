"""`perdure new`: a project from the template."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from perdure.cli.arguments import add_yes
from perdure.cli.render import Console
from perdure.cli.words import counted
from perdure.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `new` takes."""
    parser.add_argument("name", metavar="NAME", help="the folder to make, and the project's name")
    parser.add_argument("--package", metavar="NAME", help="what to import, if not NAME itself")
    parser.add_argument("--description", metavar="TEXT", help="one line for the README")
    parser.add_argument("--author", metavar="TEXT", help="who writes it")
    add_yes(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the project is there."""
    import shlex

    from perdure.project.template import Answers, answers_for, create_project

    if not arguments.name:
        raise UsageError("a project needs a name", hint="perdure new NAME")
    folder = Path(arguments.name)
    name = folder.absolute().name
    package: str | None = arguments.package
    answers = Answers(name, package) if package else answers_for(name)
    asks = console.can_ask and not arguments.yes
    answers = replace(
        answers,
        description=chosen(arguments.description, "in one line, what is it about?", asks, console),
        author=chosen(arguments.author, "who writes it?", asks, console),
    )
    files = create_project(folder, answers, report=console)
    console.say(f"made `{folder}`: {counted(len(files), 'file')}")
    console.say(f"next: cd {shlex.quote(str(folder))} && perdure run train")
    return 0


def chosen(given: str | None, question: str, asks: bool, console: Console) -> str:
    """Return what was given, else what the user answers, else nothing."""
    if given is not None or not asks:
        return given or ""
    return console.ask(f"{question} (may be empty)", unasked="perdure new NAME --yes")
