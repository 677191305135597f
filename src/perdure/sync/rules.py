"""What of a project is synchronised, and how: values."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_BYTES = 50 << 20


@dataclass(frozen=True, slots=True)
class Rules:
    """`pull`: patterns of files that go both ways; all other code goes there only.

    `deletes_much`: more than half of what is there may be deleted at once.
    """

    pull: tuple[str, ...] = ("**/*.ipynb",)
    largest_bytes: int = LARGEST_BYTES
    deletes_much: bool = False


DEFAULT = Rules()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that stays where it is, and why."""

    path: str
    why: str
