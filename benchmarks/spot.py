"""How much of the time that spot machines are paid for is useful, by how a training saves.

    python -m benchmarks.spot [--days 45] [--seed 1] [--trace FILE]

Each way is played against the same availability: a trace, or a generator of a bad region: 11
preemptions a day, as the worst public reports have it, and then twenty minutes without a machine,
which is assumed. A trace is a file of JSON as "Can't Be Late" (NSDI'24) has them, `{"gap_seconds":
60, "data": [0, 1, 1, ...]}`: 1 where a machine could not be had in that gap. Pure arithmetic;
nothing is started.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_DAY_S = 86400.0
# Preemptions a day, and how long no machine is to be had after one.
_A_DAY = 11.0
_AWAY_S = 1200.0
TO_REACH = 0.98


@dataclass(frozen=True, slots=True)
class Way:
    """How a training saves. Without a notice `every_s` is what counts; times in seconds.

    `restart_s` is from a machine's first paid second to the first new step.
    """

    name: str
    restart_s: float
    every_s: float
    on_notice: bool


WAYS = (
    Way("perdure: at the notice, 90 s to begin again", 90.0, 60.0, True),
    Way("perdure, of whose notices every fifth is not given", 90.0, 60.0, True),
    Way("every 10 minutes, 90 s to begin again", 90.0, 600.0, False),
    Way("every 10 minutes, 180 s to begin again", 180.0, 600.0, False),
    Way("every 30 minutes, 90 s to begin again", 90.0, 1800.0, False),
    Way("every 30 minutes, 360 s to begin again", 360.0, 1800.0, False),
)
_UNTOLD = "not given"


def generated(days: float, seed: int) -> list[float]:
    """Return how long each machine was there, in seconds: exponential, as of a bad region."""
    chance = random.Random(seed)
    found, left = [], days * _DAY_S
    mean = _DAY_S / _A_DAY - _AWAY_S
    while left > 0:
        there = min(left, chance.expovariate(1 / mean))
        found.append(there)
        left -= there + chance.expovariate(1 / _AWAY_S)
    return found


def of_trace(gap_s: float, data: Sequence[int]) -> list[float]:
    """Return how long each machine was there in a trace: runs of 0, in seconds. Pure."""
    found, run = [], 0
    for taken in [*data, 1]:
        if not taken:
            run += 1
        elif run:
            found.append(run * gap_s)
            run = 0
    return found


def useful(machines: Sequence[float], way: Way, seed: int) -> float:
    """Return the share of the time paid for whose work was kept. Pure."""
    chance = random.Random(seed)
    kept = sum(_kept(there, way, chance) for there in machines)
    return kept / sum(machines) if machines else 0.0


def _kept(there: float, way: Way, chance: random.Random) -> float:
    worked = there - way.restart_s
    if worked <= 0:
        return 0.0
    is_told = way.on_notice and not (_UNTOLD in way.name and chance.random() < 0.2)
    return worked if is_told else worked - worked % way.every_s


def lines(machines: Sequence[float], seed: int) -> Iterator[str]:
    """Yield the table. Pure."""
    days = sum(machines) / _DAY_S
    yield f"{len(machines)} machines, {days:.1f} days paid for"
    for way in WAYS:
        share = useful(machines, way, seed)
        yield f"{way.name:<56} {share:7.1%}"


def main(argv: Sequence[str]) -> int:
    """Return 0 if the first way reaches what it has to, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--days", type=float, default=45.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", type=Path)
    arguments = parser.parse_args(argv)
    if arguments.trace is None:
        machines = generated(arguments.days, arguments.seed)
    else:
        found = json.loads(arguments.trace.read_text())
        gap_s = found.get("gap_seconds") or found["metadata"]["gap_seconds"]
        machines = of_trace(float(gap_s), found["data"])
    for line in lines(machines, arguments.seed):
        print(line)
    return 0 if useful(machines, WAYS[0], arguments.seed) >= TO_REACH else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
