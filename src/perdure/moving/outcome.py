"""What came of moving something: what arrived, what was left out and why, what was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perdure.moving.plan import UNCHANGED

__all__ = ["UNCHANGED", "Moved", "Skipped", "grouped"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out for one reason: how many files, their bytes, and one of them."""

    why: str
    files: int
    bytes: int
    example: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A word that was moved to or from `where`; with `dry` nothing was, and `paths` would be.

    `sent_bytes` went over, less than `bytes` where a part had gone over before. `kept` are the
    paths whose earlier contents lie in `kept_in` now.
    """

    word: str
    where: str
    pushed: bool
    files: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    skipped: tuple[Skipped, ...] = ()
    kept: tuple[str, ...] = ()
    kept_in: str | None = None
    notes: tuple[str, ...] = ()
    dry: bool = False
    paths: tuple[str, ...] = ()


def grouped(skipped: Mapping[str, str], sizes: Mapping[str, int]) -> tuple[Skipped, ...]:
    """Return what was left out by reason, what is unchanged at the end. Pure."""
    found: dict[str, list[str]] = {}
    for path, why in sorted(skipped.items()):
        found.setdefault(why, []).append(path)
    groups = [
        Skipped(why, len(paths), sum(sizes.get(path, 0) for path in paths), paths[0])
        for why, paths in found.items()
    ]
    return tuple(sorted(groups, key=lambda each: (each.why == UNCHANGED, each.why)))
