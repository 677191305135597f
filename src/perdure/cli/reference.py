"""The pages of docs/reference, made from the parser and the error tree.

`python -m perdure.cli.reference` writes them; a test holds the committed pages to what it returns.
The text comes from the parser's data, never from argparse's formatter, whose layout changes with
Python's version.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from perdure.cli.overview import GLOBAL_OPTIONS, USAGE
from perdure.cli.parser import build_parser
from perdure.cli.verb import Verb
from perdure.cli.verbs import GROUPS, VERBS

MADE = "<!-- made by `python -m perdure.cli.reference`; do not edit -->"
FOLDER = Path("docs/reference")

JOB_CODES = (
    ("0", "the job is done; or the verb did what it was asked to"),
    ("75", "the job was interrupted and is durable: `perdure resume JOB` goes on with it"),
    ("76", "the job was fenced: a newer attempt owns its run folder; do not run it again"),
    ("130", "the job was killed, or Ctrl-C ended the verb"),
    ("128 + N", "signal N ended the job"),
    ("141", "whoever read the output went away"),
    ("any other", "the job's own exit code, once it has no attempts left"),
)


def pages() -> Mapping[str, str]:
    """Return the pages by file name."""
    return {"commands.md": commands_page(), "exit-codes.md": exit_codes_page()}


def commands_page() -> str:
    """Return the reference of the verbs."""
    lines = ["# Commands", "", MADE, "", f"    {USAGE}", "", "| option | meaning |", "|---|---|"]
    lines += [f"| `{option}` | {meaning} |" for option, meaning in GLOBAL_OPTIONS]
    lines += ["", "Jobs go by name, by the beginning of it, or as `@last`. Durations are written"]
    lines += ["`30`, `90s`, `5m`, `2h`, `7d`. Data goes to standard output, everything else to"]
    lines += [
        "standard error; colour and movement only to a terminal, and `NO_COLOR` is respected."
    ]
    for group in GROUPS:
        lines += ["", f"## {group.capitalize()}"]
        for verb in VERBS:
            if verb.group == group:
                lines += ["", *verb_lines(verb)]
    return "\n".join(lines) + "\n"


def verb_lines(verb: Verb) -> list[str]:
    """Return a verb's part of the page."""
    parser = build_parser(verb)
    lines = [f"### perdure {verb.name}", "", f"{verb.summary[0].upper()}{verb.summary[1:]}.", ""]
    lines += [f"    {(parser.usage or '').strip()}", ""]
    lines += ["| argument | meaning |", "|---|---|"]
    shown = [each for each in parser.entries if each.help not in (None, argparse.SUPPRESS)]
    lines += [f"| `{invocation(each)}` | {cell(each.help or '')} |" for each in shown]
    lines += ["", *(f"    {example}" for example in verb.examples)]
    return lines


def invocation(action: argparse.Action) -> str:
    """Return an argument as it is written: `-n N`, `--live`, `JOB`."""
    choices = "|".join(map(str, action.choices)) if action.choices else ""
    name = choices or str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return cell(name)
    value = "" if action.nargs == 0 else f" {name}"
    return cell(", ".join(action.option_strings) + value)


def cell(text: str) -> str:
    """Return a text that can stand in a table."""
    return text.replace("|", r"\|")


def exit_codes_page() -> str:
    """Return the reference of the exit codes: perdure's own errors, then the job's."""
    from perdure import errors

    lines = ["# Exit codes", "", MADE, "", "An error is one line on standard error, with a hint."]
    lines += ["", "| code | error | meaning |", "|---|---|---|"]
    lines += error_rows(errors.PerdureError)
    lines += ["", "A bug in perdure ends with 1 too, and says that it is one."]
    lines += ["", "`perdure run`, `resume` and `rerun`, when they follow a job, end with:", ""]
    lines += ["| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in JOB_CODES]
    return "\n".join(lines) + "\n"


def error_rows(error: type[Exception]) -> list[str]:
    """Return a row for an error of the tree and for each that is a kind of it, in order."""
    meaning = (error.__doc__ or "").splitlines()[0]
    rows = [f"| {getattr(error, 'exit_code', '')} | {error.__name__} | {cell(meaning)} |"]
    for kind in error.__subclasses__():
        if kind.__module__ == error.__module__:
            rows += error_rows(kind)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 after writing the pages into the folder given (docs/reference)."""
    parser = argparse.ArgumentParser(prog="python -m perdure.cli.reference")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder: Path = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
