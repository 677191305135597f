"""Where a running training is, read from the metrics that it has written so far."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from perdure.runtime.metrics import read_rows

# The middle of an epoch, as a share of its steps: far enough from both ends for a slow machine.
_FROM, _TO = 0.2, 0.6


@dataclass(frozen=True, slots=True)
class Progress:
    """A training's place: steps done, epochs done, and how many steps an epoch has if known."""

    step: int
    epoch: int
    steps_per_epoch: int | None

    @property
    def mid_epoch(self) -> bool:
        """Return whether it is in the middle of an epoch."""
        if self.steps_per_epoch is None:
            return False
        within = self.step - self.epoch * self.steps_per_epoch
        return _FROM <= within / self.steps_per_epoch <= _TO

    def total(self, epochs: int) -> int | None:
        """Return how many steps so many epochs have, None where that is not known yet."""
        return None if self.steps_per_epoch is None else self.steps_per_epoch * epochs


def read_progress(folder: Path) -> Progress | None:
    """Return where the run's newest attempt is, None before its first row. Touches the disk."""
    try:
        rows = read_rows(os.fspath(folder))
    except json.JSONDecodeError:
        return None  # a header that is being written right now
    places = [(_whole(row.get("step")), _whole(row.get("epoch"))) for row in rows]
    if not places:
        return None
    second = next((step for step, epoch in places if epoch == 1), None)
    return Progress(*places[-1], second)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
