"""One verb's parser, and the cut between perdure's options and the task's.

`perdure run [options] TASK ...` is read as `docker run` reads its own: the first word that is no
option is the task, and nothing after it is looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn, TypeVar

from perdure.cli.nearest import did_you_mean
from perdure.cli.verb import AXES, COMMAND, TASK, Verb
from perdure.errors import UsageError

ActionT = TypeVar("ActionT", bound=argparse.Action)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError, and knows which of its options take a value."""

    def __init__(self, verb: Verb) -> None:
        self.takes_value: dict[str, bool] = {}
        self.verb = verb
        self.entries: list[argparse.Action] = []
        super().__init__(
            prog=f"perdure {verb.name}",
            usage=f"perdure {verb.name} [options] {verb.usage}".rstrip(),
            description=f"{verb.summary[0].upper()}{verb.summary[1:]}.",
            epilog="examples:\n" + "\n".join(f"  {example}" for example in verb.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def _add_action(self, action: ActionT) -> ActionT:
        """Return the action added, after noting it for the cut and for the reference."""
        self.entries.append(action)
        for option in action.option_strings:
            self.takes_value[option] = action.nargs != 0
        return super()._add_action(action)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Raise UsageError with the choice that was meant, where the value is none of them."""
        choices = [str(each) for each in action.choices or ()]
        if action.choices is None or value in choices:
            return
        option = f"{action.option_strings[-1]} " if action.option_strings else ""
        raise UsageError(
            f"`{option}{value}` is not one of {', '.join(f'`{each}`' for each in choices)}",
            hint=did_you_mean(str(value), choices, f"see `perdure {self.verb.name} --help`"),
        )

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would have printed.

        Raises:
            UsageError: always.
        """
        raise UsageError(message, hint=f"see `perdure {self.verb.name} --help`")


def build_parser(verb: Verb) -> Parser:
    """Return the parser of a verb, with the options that all verbs have; imports its module."""
    from importlib import import_module

    parser = Parser(verb)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    import_module(verb.module).add_arguments(parser)
    return parser


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a verb; `rest` holds the words that belong to the task.

    Raises:
        UsageError: an unknown option (with the one that was meant), a value that does not fit.
        SystemExit: `--help` was printed.
    """
    own, rest = cut(parser, words)
    arguments, unknown = parser.parse_known_args(own)
    if unknown:
        raise unknown_word(parser, unknown[0])
    arguments.rest = rest
    return arguments


def cut(parser: Parser, words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the words that are perdure's and those that are the task's, untouched."""
    if parser.verb.rest == COMMAND:
        end = words.index("--") if "--" in words else len(words)
        return list(words[:end]), tuple(words[end + 1 :])
    if parser.verb.rest == AXES:
        end = words.index("--") if "--" in words else len(words)
        return options_first(parser, words[:end]), tuple(words[end + 1 :])
    if parser.verb.rest != TASK:
        return list(words), ()
    end = first_plain_word(parser, words)
    return list(words[:end]), tuple(words[end:])


def options_first(parser: Parser, words: Sequence[str]) -> list[str]:
    """Return the words with those that are no options at the end, behind a `--`.

    argparse takes a list of words only where they stand together.
    """
    options: list[str] = []
    plain: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            plain.append(word)
            continue
        options.append(word)
        if parser.takes_value.get(word.partition("=")[0]) and "=" not in word and rest:
            options.append(rest.pop(0))
    return [*options, "--", *plain] if plain else options


def first_plain_word(parser: Parser, words: Sequence[str]) -> int:
    """Return the index of the first word that is neither an option nor an option's value."""
    index = 0
    while index < len(words) and words[index].startswith("-") and words[index] not in ("-", "--"):
        option = words[index].partition("=")[0]
        if option not in parser.takes_value and not is_short_group(parser, option):
            raise unknown_word(parser, option)
        takes_value = parser.takes_value.get(option, False)
        index += 2 if takes_value and "=" not in words[index] else 1
    return min(index, len(words))


def is_short_group(parser: Parser, option: str) -> bool:
    """Return whether the word is several one-letter flags in one, such as `-dv`."""
    letters = option[1:]
    return not option.startswith("--") and all(
        parser.takes_value.get(f"-{letter}") is False for letter in letters
    )


def unknown_word(parser: Parser, word: str) -> UsageError:
    """Return the error for a word that a verb does not know."""
    name = parser.verb.name
    if not word.startswith("-"):
        hint = f"see `perdure {name} --help`"
        if parser.verb.rest == COMMAND:
            hint = f"a command, and what is a task's own, comes after `--`: `... -- {word}`"
        return UsageError(f"unexpected argument `{word}`", hint=hint)
    option = word.partition("=")[0]
    otherwise = {
        TASK: f"a task's own options come after its name: `perdure {name} TASK {option} ...`",
        COMMAND: f"what belongs to the task or command comes after `--`: `... -- {option}`",
        AXES: f"what belongs to the task comes after `--`: `... -- {option}`",
    }.get(parser.verb.rest, f"see `perdure {name} --help`")
    hint = did_you_mean(option, parser.takes_value, otherwise)
    return UsageError(f"`perdure {name}` has no option `{option}`", hint=hint)
