"""What is to be done so that both sides agree: pure.

Three trees decide, path by path: what both sides had last (the base), what is here, what is there.
Here wins: what somebody changed there is displaced, and kept by whoever displaces it. Only files
that go both ways are taken from there, if nobody changed them here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from perdure.sync.far.tree import FILE, Entry

# A path that was deleted there on our word, among the digests that are ours.
ABSENT = ""
# Fewer deletions than this are always carried out, unless nothing at all is left here.
FEW = 100
# Files up to this size go first, many in one message.
SMALL_BYTES = 256 << 10


class Do(IntEnum):
    """What is done to a path; the lesser come first."""

    AGREE = 0  # nothing moves: both sides have the same
    CHMOD = 1
    PUT = 2
    FETCH = 3
    REMOVE = 4  # here
    DELETE = 5  # there


@dataclass(frozen=True, slots=True)
class Sides:
    """One path in the three trees; None where it is not."""

    base: Entry | None
    local: Entry | None
    remote: Entry | None


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to a path. `displaces`: somebody changed it there, which is kept aside."""

    do: Do
    path: str
    displaces: bool = False


def same(one: Entry | None, other: Entry | None) -> bool:
    """Return whether two sides have the same content; one that was not read yet is not known to."""
    if one is None or other is None:
        return one is other
    return one.kind == other.kind and one.digest == other.digest and bool(one.digest)


def decide(path: str, sides: Sides, ours: Collection[str], *, both_ways: bool) -> Action | None:
    """Return what is to be done to a path, None if nothing is.

    `ours` are the digests that were sent there and of which no word came back: what is there and
    has one of them was changed by nobody else.
    """
    base, local, remote = sides.base, sides.local, sides.remote
    if same(local, remote):
        return _agree(path, sides)
    untouched = same(remote, base) or (remote.digest if remote else ABSENT) in ours
    if both_ways and not untouched and same(local, base):
        return Action(Do.REMOVE if remote is None else Do.FETCH, path)
    if local is not None:
        return Action(Do.PUT, path, displaces=remote is not None and not untouched)
    if base is None and not untouched:
        return None  # somebody else's, and none of ours
    return Action(Do.DELETE, path, displaces=not untouched)


def _agree(path: str, sides: Sides) -> Action | None:
    base, local, remote = sides.base, sides.local, sides.remote
    if local is None or remote is None:
        return None if base is None else Action(Do.AGREE, path)
    known = base.mode if same(base, local) and base is not None else remote.mode
    if local.kind == FILE and local.mode != known:
        return Action(Do.CHMOD, path)
    return None if base == local else Action(Do.AGREE, path)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Deletions that are not carried out, because they look like an accident."""

    paths: tuple[str, ...]
    of: int
    there: bool


def refuse_bulk(
    actions: Sequence[Action], *, known: int, left: int, before: int = 0, do: Do = Do.DELETE
) -> tuple[list[Action], Refusal | None]:
    """Return the actions without deletions that look like an accident, and those.

    `known` is how many files both sides had, `left` how many the side has that deleted them: more
    than half of what was known, and not a few; or nothing is left at all, as in a folder that is
    not mounted. `before` were deleted just now, and count as well.
    """
    deletions = tuple(action.path for action in actions if action.do is do)
    count = len(deletions) + before
    many = count > FEW and count * 2 > known + before
    if not deletions or not (many or left == 0):
        return list(actions), None
    kept = [action for action in actions if action.do is not do]
    return kept, Refusal(deletions, known, there=do is Do.DELETE)


def in_the_way(deletions: Iterable[str], puts: Collection[str], *, folding: bool) -> frozenset[str]:
    """Return the deletions that have to come first: where a file was is a folder, or the reverse.

    On a side that folds case, also those of names that another file gets now.
    """
    above = {path[:at] for path in puts for at in range(len(path)) if path[at] == "/"}
    folded = {path.casefold() for path in puts} if folding else set()
    first = set()
    for path in deletions:
        below = any(path[:at] in puts for at in range(len(path)) if path[at] == "/")
        if path in above or below or path.casefold() in folded:
            first.add(path)
    return frozenset(first)


def collisions(paths: Iterable[str]) -> Mapping[str, str]:
    """Return the paths that cannot be where case is folded, each with the one that has its name."""
    taken: dict[str, str] = {}
    found = {}
    for path in sorted(paths):
        holder = taken.setdefault(path.casefold(), path)
        if holder != path:
            found[path] = holder
    return found
