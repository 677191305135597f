"""The trees of both sides as they are known at a moment, and what came of joining them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perdure.sync.far.folders import Refused
from perdure.sync.far.landing import Ground
from perdure.sync.far.tree import Entry
from perdure.sync.reading import Reader
from perdure.sync.rules import Rules
from perdure.sync.scan import Scanner, View
from perdure.sync.state import Kept, State

Tell = Callable[[str], None]


@dataclass(slots=True)
class Tally:
    """What was done, in files; bytes are those of contents sent there."""

    sent: int = 0
    sent_bytes: int = 0
    deleted: int = 0
    fetched: int = 0
    removed: int = 0
    kept: list[Kept] = field(default_factory=list)


class Trees:
    """What is here, what is there, what both had last."""

    def __init__(self, root: Path, state: State, rules: Rules, mark: str, tell: Tell) -> None:
        self.root = root
        self.state = state
        self.rules = rules
        self.scanner = Scanner(root, rules, state.memory)
        self.reader = Reader(root, state.memory)
        self.ground = Ground(str(root), mark, state.memory, yields=False)
        self.local = View()
        self.remote: dict[str, Entry] = {}
        self.problems: dict[str, str] = {}
        self.tally = Tally()
        self.tell = tell
        self.folding = False

    def close(self) -> None:
        """Close what is open, and keep what was agreed on."""
        self.ground.close()
        self.state.close()

    def tidy(self) -> None:
        """Deal with what a session of this side left behind when it was killed."""
        for path in self.local.drafts:
            try:
                self.ground.tidy(path)
            except (OSError, Refused):
                continue
        self.ground.release()
        self.take_kept()

    def note_kept(self, *, here: bool, paths: list[tuple[str, str]]) -> None:
        """Record what was displaced, and tell of it."""
        for path, place in paths:
            self.tally.kept.append(self.state.keep(path, place, here=here))
            side = "here" if here else "there"
            self.tell(f"`{path}` was changed there as well: that is kept {side} in `{place}`")

    def take_kept(self) -> None:
        """Record what this side put aside."""
        kept, self.ground.kept[:] = list(self.ground.kept), []
        for path, place in kept:
            self.tally.kept.append(self.state.keep(path, place, here=True))
            self.tell(f"`{path}` was deleted there: what was here is kept in `{place}`")
