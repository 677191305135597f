"""Where a run is: the step, the epoch, and the place inside each loader that is open.

A run can only be entered again at its top, so resuming replays the body of the epoch up to the
place where the snapshot was taken: loaders that had finished by then are empty, validation that had
finished is done again, and at that place everything is put back once more, so that nothing which
the replay did is left. Only the outermost open loader passes step boundaries, since only there the
body is between two steps.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Tuple

POLL = "poll"


class Position:
    """The place of a run; `settle` is called when a replay has arrived."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self.step = 0
        self.epoch = 0
        self.passes: Dict[str, int] = {}
        self.open: Dict[str, List[int]] = {}
        self._settle = settle
        self._target: Optional[Tuple[Dict[str, int], List[Tuple[str, int, int]]]] = None
        self._inner: Dict[str, Tuple[int, int]] = {}

    @property
    def replaying(self) -> bool:
        """Whether the body of the epoch is being run again up to the snapshot's place."""
        return self._target is not None

    def ahead(self, source: str) -> int:
        """Return at which batch of a source a replay will arrive; 0 where there is none."""
        places = self._target[1] if self._target is not None else []
        return next((batch for name, _, batch in places if name == source), 0)

    def snapshot(self) -> Dict[str, object]:
        """Return the place as JSON."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "passes": dict(self.passes),
            "open": [[source, *place] for source, place in self.open.items()],
        }

    def restore(self, saved: Mapping[str, object]) -> None:
        """Go to the top of the epoch in which a snapshot was taken."""
        self.step, self.epoch = int(str(saved["step"])), int(str(saved["epoch"]))
        self.passes, self.open, self._inner = {}, {}, {}
        places = [(str(s), int(p), int(b)) for s, p, b in saved["open"]]  # type: ignore[attr-defined]
        self._target = (dict(saved["passes"]), places) if places else None  # type: ignore[call-overload]

    def begin_epoch(self, epoch: int) -> None:
        """Go to the top of another epoch."""
        self.epoch = epoch
        self.passes, self.open, self._inner = {}, {}, {}

    def enter(self, source: str) -> Optional[int]:
        """Open a source; return the batch to begin with, None if this pass is already over."""
        number = self.passes.get(source, 0)
        if self._target is not None and not self.open:
            return self._replay(source, number)
        start = 0
        if source in self._inner and self._inner[source][0] == number:
            start = self._inner.pop(source)[1]
        self.open[source] = [number, start]
        return start

    def _replay(self, source: str, number: int) -> Optional[int]:
        assert self._target is not None
        passes, places = self._target
        if (source, number) == places[0][:2] or number >= passes.get(source, 0):
            # Either the place itself, or the body is not the one that was interrupted: in both
            # cases the snapshot is put back here.
            arrived = (source, number) == places[0][:2]
            self._target = None
            self.passes = dict(passes)
            self._inner = {name: (past, batch) for name, past, batch in places[1:]}
            start = places[0][2] if arrived else 0
            self.open[source] = [number, start]
            self._settle()
            return start
        if source == POLL:
            self.open[source] = [number, 0]
            return 0
        self.passes[source] = number + 1
        return None

    def advance(self, source: str) -> int:
        """Note that one more batch of a source was used; return how many were."""
        self.open[source][1] += 1
        return self.open[source][1]

    def leave(self, source: str) -> None:
        """Close a source: this pass of it is over."""
        place = self.open.pop(source, None)
        if place is not None:
            self.passes[source] = place[0] + 1

    def outermost(self, source: str) -> bool:
        """Say whether step boundaries are passed in this source."""
        return next(iter(self.open), None) == source
