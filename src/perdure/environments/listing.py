"""A list of packages in a file of its own, apt's or conda's: changed line by line, comments kept.

Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from perdure.environments.declarations import position
from perdure.environments.wanted import Kind, Wanted, declared_name
from perdure.errors import UsageError

_ITEM = re.compile(r"(?P<indent>\s*)-\s+(?P<quote>['\"]?)(?P<text>[^#'\"]*?)(?P=quote)\s*(?:#.*)?")
_HEADING = re.compile(r"dependencies\s*:\s*(?P<rest>[^#]*?)\s*(?:#.*)?")
# In YAML these would end a plain value or begin a comment.
_NEEDS_QUOTES = re.compile(r"^[*&!|>'\"%@`=<]|: | #|\s$")


def apt_with(text: str, packages: Sequence[Wanted]) -> str:
    """Return the file with the packages: in order where it is in order, else at its end."""
    lines, end = _lines(text)
    for each in packages:
        numbers = [number for number, line in enumerate(lines) if _bare(line)]
        names = [declared_name(Kind.APT, _bare(lines[number])) or "" for number in numbers]
        at = position(names, each.key)
        if at < len(numbers):
            lines.insert(numbers[at], each.text)
        else:
            lines.insert(numbers[-1] + 1 if numbers else len(lines), each.text)
    return end.join([*lines, ""])


def apt_without(text: str, names: Sequence[str]) -> str:
    """Return the file without the lines of those packages."""
    lines, end = _lines(text)
    kept = [
        line
        for line in lines
        if not _bare(line) or declared_name(Kind.APT, _bare(line)) not in names
    ]
    return end.join([*kept, ""])


def conda_names(text: str) -> tuple[str, ...]:
    """Return conda's own packages in an environment.yml: not those of its `pip:`.

    Raises:
        UsageError: its dependencies are not one a line.
    """
    return tuple(item for _, item in _conda_items(_lines(text)[0]))


def conda_with(text: str, packages: Sequence[Wanted]) -> str:
    """Return the environment.yml with the packages, as `apt_with`. Raises as `conda_names`."""
    lines, end = _lines(text)
    for each in packages:
        items = _conda_items(lines)
        names = [declared_name(Kind.CONDA, item) or "" for _, item in items]
        at = position(names, each.key)
        heading = _heading(lines)
        number = items[at][0] if at < len(items) else items[-1][0] + 1 if items else heading + 1
        pattern = _ITEM.fullmatch(lines[items[0][0]]) if items else None
        indent = pattern["indent"] if pattern else _indent_after(lines, heading)
        quoted = f'"{each.text}"' if _NEEDS_QUOTES.search(each.text) else each.text
        lines.insert(number, f"{indent}- {quoted}")
    return end.join([*lines, ""])


def conda_without(text: str, names: Sequence[str]) -> str:
    """Return the environment.yml without those of conda's packages. Raises as `conda_names`."""
    lines, end = _lines(text)
    gone = {n for n, item in _conda_items(lines) if declared_name(Kind.CONDA, item) in names}
    return end.join([*(line for n, line in enumerate(lines) if n not in gone), ""])


def _lines(text: str) -> tuple[list[str], str]:
    """Return the lines of a text, and what ends them."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(end)
    return lines[:-1] if lines[-1] == "" else lines, end


def _bare(line: str) -> str:
    return line.partition("#")[0].strip()


def _heading(lines: Sequence[str]) -> int:
    for number, line in enumerate(lines):
        found = _HEADING.fullmatch(line)
        if found and not found["rest"]:
            return number
    raise UsageError(
        "the environment.yml has no `dependencies:` with one package a line",
        hint="dependencies:, and below it a line `- NAME` for each package",
    )


def _conda_items(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Return the line numbers and texts of the packages that are conda's."""
    found: list[tuple[int, str]] = []
    depth: int | None = None
    for number in range(_heading(lines) + 1, len(lines)):
        line = lines[number]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        item = _ITEM.fullmatch(line)
        indent = len(line) - len(line.lstrip())
        if depth is None:
            depth = indent
        if indent < depth or (indent == 0 and not line.startswith("-")):
            break
        if indent == depth and item and not item["text"].endswith(":"):
            found.append((number, item["text"]))
    return found


def _indent_after(lines: Sequence[str], heading: int) -> str:
    for line in lines[heading + 1 :]:
        if line.lstrip().startswith("-"):
            return line[: len(line) - len(line.lstrip())]
    return "  "
