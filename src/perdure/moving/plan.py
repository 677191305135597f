"""What has to be moved, decided from what both sides hold and what they had in common. Pure.

`source` is where it comes from, `target` where it goes, whichever of them is this machine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from perdure.moving.entry import Entry, Folder, Kind, above
from perdure.moving.known import Seen, Stamp
from perdure.moving.selection import Skip

UNCHANGED = "unchanged"
THERE = "there already, and a job's own there"


@dataclass(frozen=True, slots=True)
class Side:
    """Which of the two is the source: what a file's known stamps are on either side."""

    pushing: bool

    @property
    def at_target(self) -> str:
        """Return where the target is, for the user."""
        return "there" if self.pushing else "here"

    def source(self, seen: Seen | None) -> Stamp | None:
        """Return the stamp that the source had."""
        return None if seen is None else (seen.near if self.pushing else seen.far)

    def target(self, seen: Seen | None) -> Stamp | None:
        """Return the stamp that the target had."""
        return None if seen is None else (seen.far if self.pushing else seen.near)

    def seen(self, source: Stamp, target: Stamp) -> Seen:
        """Return what is known once both have the same contents."""
        return Seen(source, target) if self.pushing else Seen(target, source)


@dataclass(slots=True)
class Plan:
    """What is moved, what is displaced by it, and what is left out and why, by path.

    `unsure` are files of the same size whose contents have to be compared; `same` are files that
    both sides have.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    displaced: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    same: dict[str, Seen] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Return how many bytes the files to be moved have."""
        return sum(entry.size for entry in self.files.values())

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to do."""
        return not (self.files or self.links or self.folders)


@dataclass(frozen=True, slots=True)
class Question:
    """What a plan is made from."""

    source: Folder
    target: Folder
    known: Mapping[str, Seen]
    side: Side
    skip: Skip
    adds_only: bool = False


def make_plan(asked: Question) -> Plan:
    """Return what has to be moved; what is unsure is to be given to `settle`."""
    plan = Plan()
    for path, why in asked.source.refused.items():
        if asked.skip(path) is None:
            plan.skipped[path] = why
    for path, entry in asked.source.entries.items():
        if path in asked.source.refused:
            continue
        reason = asked.skip(path)
        if reason is None:
            _place(plan, asked, path, entry)
        elif reason and entry.kind is Kind.FILE:
            plan.skipped[path] = reason
    return plan


def settle(plan: Plan, asked: Question, equal: Collection[str]) -> None:
    """Decide about what was unsure: `equal` are those with the same contents on both sides."""
    for path in plan.unsure:
        entry = asked.source.entries[path]
        if path in equal:
            _note_same(plan, asked, path)
        else:
            _differing(plan, asked, path, entry)
    plan.unsure = []


def _place(plan: Plan, asked: Question, path: str, entry: Entry) -> None:
    there = asked.target.entries.get(path)
    if any(_is_link(asked.target, folder) for folder in above(path)):
        if entry.kind is Kind.FILE:
            plan.skipped[path] = f"behind a link {asked.side.at_target}"
        return
    if entry.kind is Kind.FOLDER:
        if there is None:
            plan.folders.append(path)
        elif there.kind is Kind.FILE:
            plan.displaced.append(path)
            plan.folders.append(path)
        return
    if entry.kind is Kind.LINK:
        _place_link(plan, path, entry, there)
        return
    _place_file(plan, asked, path, entry)


def _place_link(plan: Plan, path: str, entry: Entry, there: Entry | None) -> None:
    if there == entry:
        return
    if there is not None and there.kind is not Kind.LINK:
        plan.displaced.append(path)
    plan.links[path] = entry.target


def _place_file(plan: Plan, asked: Question, path: str, entry: Entry) -> None:
    there = asked.target.entries.get(path)
    if there is None:
        plan.files[path] = entry
    elif there.kind is Kind.LINK:
        plan.skipped[path] = f"a link {asked.side.at_target} in its place"
    elif there.kind is Kind.FOLDER:
        plan.displaced.append(path)
        plan.files[path] = entry
    elif _is_same(asked, path, entry, there):
        _note_same(plan, asked, path)
    elif asked.adds_only:
        plan.skipped[path] = THERE
    elif there.stamp == asked.side.target(asked.known.get(path)):
        plan.files[path] = entry
    elif there.size == entry.size:
        plan.unsure.append(path)
    else:
        _differing(plan, asked, path, entry)


def _differing(plan: Plan, asked: Question, path: str, entry: Entry) -> None:
    """Decide about contents that differ, where the target's are not what it was given."""
    if entry.stamp == asked.side.source(asked.known.get(path)):
        plan.skipped[path] = f"changed {asked.side.at_target} only"
        return
    plan.displaced.append(path)
    plan.files[path] = entry


def _is_same(asked: Question, path: str, entry: Entry, there: Entry) -> bool:
    if entry.stamp == there.stamp:
        return True
    seen = asked.known.get(path)
    return entry.stamp == asked.side.source(seen) and there.stamp == asked.side.target(seen)


def _note_same(plan: Plan, asked: Question, path: str) -> None:
    source, target = asked.source.entries[path].stamp, asked.target.entries[path].stamp
    plan.same[path] = asked.side.seen(source, target)
    plan.skipped[path] = UNCHANGED


def _is_link(folder: Folder, path: str) -> bool:
    entry = folder.entries.get(path)
    return entry is not None and entry.kind is Kind.LINK
