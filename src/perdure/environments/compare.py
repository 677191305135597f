"""What differs between two environments. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perdure.environments.packages import Packages, Versions

PYTHON = "python"
BASE = "base"


@dataclass(frozen=True, slots=True)
class Change:
    """A package that is not the same: "" where a side has it not. `kind`: pip, apt, conda, ..."""

    kind: str
    name: str
    before: str
    after: str

    @property
    def what(self) -> str:
        """Return `added`, `removed` or `changed`."""
        if not self.before:
            return "added"
        return "changed" if self.after else "removed"


@dataclass(frozen=True, slots=True)
class Changes:
    """All that differs between two environments; `unknown` are kinds that one side cannot tell."""

    items: tuple[Change, ...]
    unknown: tuple[str, ...] = ()


def compare(before: Packages, after: Packages) -> Changes:
    """Return what differs: Python and the base image, then pip's, apt's and conda's packages."""
    sides = (
        (PYTHON, _single(PYTHON, before.python), _single(PYTHON, after.python)),
        (BASE, _single(BASE, before.base), _single(BASE, after.base)),
        ("pip", before.pip, after.pip),
        ("apt", before.apt, after.apt),
        ("conda", before.conda, after.conda),
    )
    items: list[Change] = []
    unknown = []
    for kind, one, other in sides:
        if one is None and other is None:
            continue
        if one is None or other is None:
            # A project that has none of a kind now had none before, in all likelihood.
            unknown += [kind] if one or other else []
        else:
            items += _changes(kind, one, other)
    return Changes(tuple(items), tuple(unknown))


def _single(name: str, value: str | None) -> Versions | None:
    return None if value is None else {name: value}


def _changes(kind: str, before: Versions, after: Versions) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        one, other = before.get(name, ""), after.get(name, "")
        if one != other:
            yield Change(kind, name, one, other)
