"""What an interruption on spot machines costs: measured here, and what that comes to in a region.

    python -m benchmarks.spot [--mib 100] [--rate-mib 25] [--turns 3] [--days 45] [--trace FILE]

A notice until all is in the bucket, and a replacement's program until its first new step, are
measured with a process for the machine (`spot_machine`); so are the processor seconds that bringing
a checkpoint into the bucket takes (`spot_upload`). What they come to is played against the
same machines for each way of saving: a trace, or a generator with the statistics of a bad region:
11 preemptions a day, as the worst public reports have it, and then twenty minutes without a
machine, which is assumed; both exponential. When to save is decided by Perdure's own code, from the
costs that this run has measured. A trace is a file of JSON as "Can't Be Late" (NSDI'24) has them,
`{"gap_seconds": 60, "data": [0, 1, 1, ...]}`: 1 where a machine could not be had in that gap.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import measure
from benchmarks.measure import Line
from perdure.runtime.interval import Interval, best, rate

if TYPE_CHECKING:
    from benchmarks.spot_machine import Taken

_DAY_S = 86400.0
# Preemptions a day, and how long no machine is to be had after one.
_A_DAY = 11.0
_AWAY_S = 1200.0
# AWS's own: "Spot Instance interruption notices".
_NOTICE_S = 120.0
_UNTOLD = 0.2
TO_REACH = 0.98
_RESTART_S = 90.0
_LINK_SHARE = 0.8
_SMALL_MIB = 1
_SAVES = 5
# "Costs it under 1 %".
_BESIDE = 1.01


@dataclass(frozen=True, slots=True)
class Costs:
    """What a save takes, in seconds: of the training, to disk, and on to the bucket.

    `notice` is from a notice until all is in the bucket.
    """

    stall: float
    write: float
    upload: float
    notice: float


@dataclass(frozen=True, slots=True)
class Way:
    """How a training saves: each `every_s`, or 0: by Perdure's own code, and at notices, too.

    `restart_s` is from a machine's first paid second to the first new step; of `untold` of its
    machines it gets no notice.
    """

    name: str
    restart_s: float = _RESTART_S
    every_s: float = 0.0
    untold: float = 0.0

    @property
    def on_notice(self) -> bool:
        """Return whether it saves at a notice."""
        return self.every_s == 0


WAYS = (
    Way("perdure: useful share, worst region"),
    Way("perdure, every fifth notice not given", untold=_UNTOLD),
    Way("perdure, no notice ever", untold=1.0),
    Way("every 10 minutes", every_s=600.0),
    Way("every 10 minutes, 180 s to begin again", 180.0, 600.0),
    Way("every 30 minutes", every_s=1800.0),
    Way("every 30 minutes, 360 s to begin again", 360.0, 1800.0),
)


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


def useful(machines: Sequence[float], way: Way, costs: Costs, seed: int) -> float:
    """Return the share of the time paid for whose work was kept. Pure."""
    chance = random.Random(seed)
    interval = Interval(way.every_s)
    kept = paid = 0.0
    for there in machines:
        is_told = way.on_notice and chance.random() >= way.untold
        # A machine that has saved turns itself off: what is left of the notice is not paid for.
        stop = max(0.0, there - _NOTICE_S) if is_told else there
        worked, safe = _played(stop, way.restart_s, interval, costs)
        if is_told:
            kept += worked
            paid += min(there, stop + costs.notice)
        else:
            interval.events += 1
            kept += safe
            paid += there
    return kept / paid if paid else 0.0


def _played(stop: float, restart_s: float, interval: Interval, costs: Costs) -> tuple[float, float]:
    """Return the seconds that a machine worked until `stop`, and those whose work is safe."""
    now, worked = restart_s, 0.0
    interval.start(now)
    interval.written(costs.write)
    saves = []  # when each is on the disk, and the work that is in it
    while (due := interval.last + interval.seconds()) + costs.stall < stop:
        worked += due - now
        now = due + costs.stall
        interval.saved(now, costs.stall)
        saves.append((now + costs.write, worked))
    return worked + max(0.0, stop - now), _in_bucket(saves, costs.upload, stop)


def _in_bucket(saves: Sequence[tuple[float, float]], upload_s: float, stop: float) -> float:
    """Return the work that is in the bucket at `stop`; one save goes at a time, the newest next."""
    free = safe = 0.0
    place = 0
    while place < len(saves):
        free = max(free, saves[place][0])
        while place + 1 < len(saves) and saves[place + 1][0] <= free:
            place += 1
        free += upload_s
        if free < stop:
            safe = saves[place][1]
        place += 1
    return safe


def simulated(machines: Sequence[float], costs: Costs, seed: int) -> list[Line]:
    """Return a row for each way. Pure."""
    found = []
    for way in WAYS:
        share = useful(machines, way, costs, seed)
        wanted = TO_REACH if way is WAYS[0] else None
        found.append(Line(way.name, 100 * share, 100 * share, share, at_least=wanted, unit="%"))
    return found


def measured(mib: int, rate: float, turns: int) -> tuple[list[Line], Costs]:
    """Return the rows of what was measured, and what a save costs."""
    from benchmarks.checkpoint import Bench
    from benchmarks.spot_machine import open_cloud

    with tempfile.TemporaryDirectory(prefix="perdure-spot-") as scratch:
        bench = Bench(Path(scratch, "saves"), mib)
        stalls, writes = zip(*(bench.perdure() for _ in range(_SAVES)), strict=True)
        folder = Path(scratch, "cloud")
        folder.mkdir()
        with open_cloud(folder, rate) as cloud:
            link = [cloud.link_s(mib << 20) for _ in range(turns)]
            beside = cloud.uploads_s(mib, turns)
            small = cloud.turns(_SMALL_MIB, turns)
            large = cloud.turns(mib, turns)
    notice = statistics.median(each.durable for each in large)
    costs = Costs(min(stalls), min(writes), statistics.median(link), notice)
    return [*rows_of(mib, link, small, large), beside_row(mib, beside, costs)], costs


def beside_row(mib: int, beside: Sequence[float], costs: Costs) -> Line:
    """Return the row of what uploads take from a training, at the interval that Perdure chooses.

    As if each second of the processor were one of a training on one core. Pure.
    """
    every_s = best(costs.stall, costs.write, rate(0.0, 0.0))
    share = 1 + statistics.median(beside) / every_s
    name = f"training beside uploads of {mib} MiB, to without"
    return Line(name, min(beside), statistics.median(beside), share, at_most=_BESIDE)


def rows_of(
    mib: int, link: Sequence[float], small: Sequence[Taken], large: Sequence[Taken]
) -> list[Line]:
    """Return the rows of what notices and replacements took, with little state and with much."""
    slow = [each / _LINK_SHARE for each in link]
    notice = [1 + each for each in slow]
    begin = [5 + each for each in slow]
    return [
        measure.line(f"the link: {mib} MiB put", link),
        measure.line("1 s + the link at 80 %", notice),
        measure.against(
            f"notice heard to durable, {mib} MiB", [e.durable for e in large], notice, at_most=1.0
        ),
        measure.against("... of 1 MiB, to 1 s", [e.durable for e in small], [1.0], at_most=1.0),
        measure.line(
            "notice given to heard (asked every 5 s)", [e.heard for e in (*small, *large)]
        ),
        measure.against(
            "replacement: program to first new step, to 5 s",
            [each.begun for each in small],
            [5.0],
            at_most=1.0,
        ),
        measure.line("5 s + the link at 80 %", begin),
        measure.against(f"... with {mib} MiB", [e.begun for e in large], begin, at_most=1.0),
    ]


def main(argv: Sequence[str]) -> int:
    """Return 0 if all reaches what it has to, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mib", type=int, default=100, help="the state of the training")
    parser.add_argument("--rate-mib", type=float, default=25.0, help="the link, MiB a second")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--days", type=float, default=45.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", type=Path)
    arguments = parser.parse_args(argv)
    rows, costs = measured(arguments.mib, arguments.rate_mib * 2**20, arguments.turns)
    if arguments.trace is None:
        machines = generated(arguments.days, arguments.seed)
    else:
        found = json.loads(arguments.trace.read_text())
        gap_s = found.get("gap_seconds") or found["metadata"]["gap_seconds"]
        machines = of_trace(float(gap_s), found["data"])
    rows += simulated(machines, costs, arguments.seed)
    days = sum(machines) / _DAY_S
    measure.report(
        "spot",
        rows,
        [
            f"a machine is a process here, the bucket moto's behind {arguments.rate_mib:g} MiB/s",
            f"{len(machines)} machines, {days:.1f} days paid for; {_RESTART_S:g} s to begin again",
            f"a save: {costs.stall:.3f} s; {costs.write:.2f} s to disk, {costs.upload:.1f} s on",
        ],
    )
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
