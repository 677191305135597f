"""Patterns as .gitignore has them: which paths they mean. Pure.

The rules: https://git-scm.com/docs/gitignore#_pattern_format
"""

from __future__ import annotations

import re
from typing import Iterable, List, Pattern, Tuple

# A pattern, whether it takes paths out again, whether it means folders only.
_Rule = Tuple["Pattern[str]", bool, bool]


class Patterns:
    """Patterns in order: the last one that matches decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = [rule for rule in map(_rule, lines) if rule is not None]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def matches(self, path: str, *, folder: bool = False) -> bool:
        """Return whether the path itself is meant; those it lies in are not looked at."""
        for pattern, negated, folders_only in reversed(self._rules):
            if (folder or not folders_only) and pattern.fullmatch(path):
                return not negated
        return False

    def covers(self, path: str) -> bool:
        """Return whether a file is meant, or a folder that it lies in."""
        if not self._rules:
            return False
        at = path.find("/")
        while at >= 0:
            if self.matches(path[:at], folder=True):
                return True
            at = path.find("/", at + 1)
        return self.matches(path)


def _rule(line: str) -> _Rule | None:
    text = line.rstrip("\r\n")
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    if negated:
        text = text[1:]
    folders_only = text.endswith("/")
    text = text.rstrip("/") if folders_only else text
    anchored = "/" in text
    text = text[1:] if text.startswith("/") else text
    if not text:
        return None
    begin = "" if anchored else "(?:.*/)?"
    return re.compile(begin + _translated(text), re.DOTALL), negated, folders_only


def _translated(text: str) -> str:
    parts: List[str] = []
    at = 0
    while at < len(text):
        piece, at = _piece(text, at)
        parts.append(piece)
    return "".join(parts)


def _piece(text: str, at: int) -> Tuple[str, int]:
    """Return the next piece as a regular expression, and where the one after it begins."""
    begins = at == 0 or text[at - 1] == "/"
    if begins and text.startswith("**/", at):
        return "(?:.*/)?", at + 3
    if begins and text[at:] == "**":
        return ".*", at + 2
    letter = text[at]
    if letter == "*":
        return "[^/]*", at + 1
    if letter == "?":
        return "[^/]", at + 1
    if letter == "[":
        return _bracket(text, at)
    if letter == "\\" and at + 1 < len(text):
        return re.escape(text[at + 1]), at + 2
    return re.escape(letter), at + 1


def _bracket(text: str, at: int) -> Tuple[str, int]:
    inside = at + 1
    negated = text[inside : inside + 1] in ("!", "^")
    inside += negated
    # A bracket that comes first is one of the letters.
    end = text.find("]", inside + 1)
    if end < 0:
        return re.escape("["), at + 1
    letters = text[inside:end].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    try:
        re.compile("[" + letters + "]")
    except re.error:
        return re.escape(text[at : end + 1]), end + 1
    return ("(?!/)[^" if negated else "(?!/)[") + letters + "]", end + 1
