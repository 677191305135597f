"""Which values a trial has: all of a grid, at random, or as Optuna proposes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from perdure.model.sweep import drawn
from perdure.sweeps.record import Sweep


class Proposals(Protocol):
    """Answers what the next trials are."""

    @property
    def ahead(self) -> bool:
        """Return whether values may be asked for before there is room for their trial."""

    def values(self, trial: int) -> Mapping[str, str] | None:
        """Return the values of a trial, counted from 1; None where that cannot be said yet."""

    def told(self, trial: int, folder: Path, state: str) -> None:
        """Take in what a trial came to."""

    def due(self, running: Mapping[int, Path]) -> list[int]:
        """Return the running trials that are to be ended now."""


class Computed:
    """Proposals that follow from the sweep alone: a grid, or a draw that can be repeated."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._grid = sweep.grid

    @property
    def ahead(self) -> bool:
        """Return that nothing that happens changes them."""
        return True

    def values(self, trial: int) -> Mapping[str, str] | None:
        """Return the values of a trial."""
        search = self._sweep.search
        if search.kind == "random":
            return drawn(self._grid.boxes[0], search.seed, trial)
        return self._grid.at(trial - 1)

    def told(self, trial: int, folder: Path, state: str) -> None:
        """Nothing depends on it."""

    def due(self, running: Mapping[int, Path]) -> list[int]:  # noqa: ARG002 - the protocol's
        """Return none."""
        return []


def proposals_of(folder: Path, sweep: Sweep) -> Proposals:
    """Return what proposes a sweep's trials. Reads the disk.

    Raises:
        EnvironmentFailed: Optuna is wanted, and not installed.
    """
    if sweep.search.kind == "optuna":
        from perdure.sweeps.tuner import Tuner

        return Tuner(folder, sweep)
    return Computed(sweep)
