"""What a job's machines cost: their time as they wrote it down, at the price they were taken at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.runtime import names

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class MachineTime:
    """One machine's time in seconds; prices are dollars an hour, None where they were not told."""

    machine: str
    kind: str
    market: str
    began: float
    ended: float
    price: float | None
    on_demand: float | None

    @property
    def seconds(self) -> float:
        """Return how long it was there."""
        return max(0.0, self.ended - self.began)


@dataclass(frozen=True, slots=True)
class Cost:
    """What machines cost together, in dollars; None where a price was not told for one of them."""

    machines: int
    hours: float
    paid: float | None
    on_demand: float | None

    @property
    def saved(self) -> float | None:
        """Return the share of the price on demand that was not paid, None: it is not known."""
        if self.paid is None or not self.on_demand:
            return None
        return 1 - self.paid / self.on_demand


def machine_times(folder: Path) -> list[MachineTime]:
    """Return the machines that a job had, in order. Reads the disk."""
    pattern = f"{names.MACHINE_PREFIX}*.jsonl"
    files = sorted((folder / names.ATTEMPTS).glob(pattern))
    return [found for file in files if (found := _read(file)) is not None]


def cost_of(times: Iterable[MachineTime]) -> Cost:
    """Return what machines cost together. Pure."""
    every = list(times)
    hours = sum(each.seconds for each in every) / _HOUR_S
    paid = _sum((each.seconds, each.price) for each in every)
    listed = _sum((each.seconds, each.on_demand) for each in every)
    return Cost(len(every), hours, paid, listed)


def _sum(times: Iterable[tuple[float, float | None]]) -> float | None:
    total = 0.0
    for seconds, price in times:
        if price is None:
            return None
        total += seconds / _HOUR_S * price
    return total


def _read(file: Path) -> MachineTime | None:
    lines = list(_lines(file))
    if not lines or "machine" not in lines[0]:
        return None
    first = lines[0]
    prices = (first.get("spot"), first.get("on_demand"))
    spot, listed = (float(each) if isinstance(each, (int, float)) else None for each in prices)
    market = str(first.get("market", ""))
    return MachineTime(
        machine=str(first["machine"]),
        kind=str(first.get("kind", "")),
        market=market,
        began=float(first["t"]),
        ended=float(lines[-1]["t"]),
        price=spot if market == "spot" else listed,
        on_demand=listed,
    )


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_bytes().splitlines():
        try:
            found = json.loads(line)
            float(found["t"])
        except (ValueError, KeyError, TypeError):
            continue  # torn by a machine that went
        yield found
