"""Everything that is wrong with a table, at once: the dotted key and, where near, a better one."""

from __future__ import annotations

import difflib
import re
import tomllib
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeGuard, Union, get_args, get_origin

import msgspec

from perdure.errors import NewerFormatError, StorageError, UsageError

_WHERE = re.compile(r" - at `\$(?P<path>.*)`$", re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the value of one dotted key."""

    key: str
    message: str


def read_toml(file: Path) -> dict[str, object]:
    """Return the tables of a file.

    Raises:
        UsageError: it is not TOML, or not UTF-8.
        StorageError: it cannot be read.
    """
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"`{file}` is not UTF-8: byte {error.start} cannot be read", hint="save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a number of thousands of digits, a list in thousands of lists.
        raise UsageError(
            f"`{file}` is not valid TOML: {error}",
            hint="text stands in quotes there, lists in brackets: https://toml.io",
        ) from error
    except OSError as error:
        raise StorageError(
            f"cannot read `{file}`: {(error.strerror or '').lower()}", hint=f"ls -ld {file}"
        ) from error


def refuse_newer(table: object, newest: int, file: Path) -> None:
    """Return if this perdure can read the table's `format`.

    Raises:
        NewerFormatError: it was written for a newer one.
    """
    found = table.get("format") if isinstance(table, dict) else None
    if type(found) is int and found > newest:
        raise NewerFormatError(
            f"`{file}` has format {found}; this perdure reads up to {newest}",
            hint="pip install --upgrade 'perdure[cli]'",
        )


def problems_in(table: object, expected: type[msgspec.Struct], at: str = "") -> list[Problem]:
    """Return all that keeps `table` from being an `expected`: none, and it can be converted."""
    if not isinstance(table, dict):
        return [Problem(at, f"expected a table, got `{type(table).__name__}`")]
    fields = {field.encode_name: field for field in msgspec.structs.fields(expected)}
    found = [
        Problem(dotted(at, key), "unknown key" + did_you_mean(key, fields))
        for key in table
        if key not in fields
    ]
    for name, field in fields.items():
        if name in table:
            found += _problems_of(table[name], field.type, dotted(at, name))
        elif field.required:
            found.append(Problem(dotted(at, name), "is missing"))
    return found


def refuse(file: Path, problems: Sequence[Problem], page: str = "docs/configuration.md") -> None:
    """Return if there are no problems; `page` has the keys of such a file.

    Raises:
        UsageError: naming all of them.
    """
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  {problem.key}: {problem.message}" for problem in problems)
        raise UsageError(f"{count} in `{file}`{lines}", hint=f"mend the file: {page} has its keys")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` where a known word is near, else the known words."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; known: {', '.join(f'`{each}`' for each in words)}" if words else ""


def dotted(at: str, key: str) -> str:
    """Return a key below another, quoted as TOML has it where it must be."""
    text = key if _BARE_KEY.fullmatch(key) else repr(key)
    return f"{at}.{text}" if at else text


def _problems_of(value: object, annotation: object, at: str) -> list[Problem]:
    for member in _members(annotation):
        found = _problems_within(value, member, at)
        if found is not None:
            return found
    words = [word for member in _members(annotation) for word in _literals(member)]
    if isinstance(value, str) and words and value not in words:
        return [Problem(at, f"`{value}` is not a choice here" + did_you_mean(value, words))]
    try:
        msgspec.convert(value, type=annotation)
    except msgspec.ValidationError as error:
        return [_explained(str(error), at)]
    return []


def _problems_within(value: object, member: object, at: str) -> list[Problem] | None:
    """Return the problems of a table, or of tables in it or listed; None where these are none."""
    of = get_args(member)
    if isinstance(value, dict) and _is_table(member):
        return problems_in(value, member, at)
    if isinstance(value, dict) and get_origin(member) is dict:
        pairs = ((dotted(at, key), each) for key, each in value.items())
        return [found for key, each in pairs for found in _problems_of(each, of[1], key)]
    if isinstance(value, list) and get_origin(member) is list and _is_table(of[0]):
        numbered = ((f"{at}[{number}]", each) for number, each in enumerate(value))
        return [found for key, each in numbered for found in problems_in(each, of[0], key)]
    return None


def _is_table(annotation: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _literals(annotation: object) -> list[str]:
    """Return the words a type allows, none where it allows more than words."""
    return [str(each) for each in get_args(annotation)] if get_origin(annotation) is Literal else []


def _members(annotation: object) -> list[object]:
    """Return the alternatives of a type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return [each for member in get_args(annotation) for each in _members(member)]
    return [annotation]


def _explained(message: str, at: str) -> Problem:
    where = _WHERE.search(message)
    text = message[: where.start()] if where else message
    text = re.sub(r"\bobject\b", "table", text)
    return Problem(at + (where["path"] if where else ""), text[:1].lower() + text[1:])
