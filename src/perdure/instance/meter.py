"""How long a machine was there, and at what price: lines beside the events of attempts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.runtime import names

# A machine that goes without a word was paid for until then, give or take.
EVERY_S = 30.0


@dataclass(slots=True)
class Meter:
    """The time of one machine, which begins where this is made. Touches the disk."""

    file: Path
    clock: Callable[[], float] = time.time
    _told: float = 0.0

    def begin(self, words: Mapping[str, Any]) -> None:
        """Write what the machine is, and when its time began."""
        self._write(dict(words))

    def tick(self) -> None:
        """Write that the machine is there, not all the time."""
        if self.clock() - self._told >= EVERY_S:
            self.end()

    def end(self) -> None:
        """Write that the machine was there until now."""
        self._write({})

    def _write(self, words: dict[str, Any]) -> None:
        self._told = self.clock()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps({"t": round(self._told, 3), **words}) + "\n")


def meter_of(run_dir: Path, turn: int) -> Meter:
    """Return the meter of a job's machine, by how often its lease was taken. Pure."""
    return Meter(
        run_dir / names.ATTEMPTS / f"{names.MACHINE_PREFIX}{names.numbered(turn, '.jsonl')}"
    )
