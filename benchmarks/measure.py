"""What the benchmarks share: samples taken in turns, a table, and a file of results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("perdure", "torch", "numpy", "safetensors", "xxhash")


@dataclass(frozen=True, slots=True)
class Line:
    """One row: seconds, and their ratio to a limit where the row has a target.

    Where `unit` is not `s`, both figures are in that unit instead.
    """

    name: str
    best_s: float
    median_s: float
    ratio: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "s"

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None where there is none."""
        if self.ratio is None or (self.at_most is None and self.at_least is None):
            return None
        if self.at_most is not None:
            return self.ratio <= self.at_most
        return self.at_least is None or self.ratio >= self.at_least

    def target(self) -> str:
        """Return the target and whether it was met, in words."""
        if self.met is None:
            return ""
        wanted = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        return f"{wanted} {'met' if self.met else 'NOT MET'}"


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def in_turns(ways: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Return the seconds of each way; they take turns, so that load hits all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            found[name].append(way())
    return found


def line(name: str, seconds: Sequence[float]) -> Line:
    """Return a row without a target."""
    return Line(name, min(seconds), statistics.median(seconds))


def amount(
    name: str, count: float, unit: str, ratio: float | None = None, *, at_most: float | None = None
) -> Line:
    """Return a row for something else than seconds."""
    return Line(name, count, count, ratio, at_most, unit=unit)


def against(
    name: str,
    seconds: Sequence[float],
    limit: Sequence[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Line:
    """Return a row with its ratio to a limit of the same run, best to best.

    With `at_least` both are speeds: the ratio is the limit's seconds to these.
    """
    best, best_limit = min(seconds), min(limit)
    ratio = best / best_limit if at_least is None else best_limit / best
    return Line(name, best, statistics.median(seconds), ratio, at_most, at_least)


def report(name: str, lines: Sequence[Line], notes: Sequence[str] = ()) -> None:
    """Print the table and write benchmarks/results/<name>.json."""
    print(f"{name}: {machine()}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':52}{'best':>11}{'median':>11}{'ratio':>8}  target")
    for row in lines:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        factor, unit = (1e3, "ms") if row.unit == "s" else (1.0, row.unit)
        times = f"{row.best_s * factor:8.1f} {unit}{row.median_s * factor:8.1f} {unit}"
        print(f"{row.name:52}{times}{ratio:>8}  {row.target()}")
    for note in notes:
        print(note)
    RESULTS.mkdir(exist_ok=True)
    content = {
        "name": name,
        "machine": machine(),
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": round(os.getloadavg()[0], 2),
        "versions": versions(),
        "rows": [described(row) for row in lines],
        "notes": list(notes),
    }
    text = json.dumps(content, indent=1) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def described(row: Line) -> dict[str, object]:
    """Return a row as the results hold it."""
    return {
        "name": row.name,
        "best_s": row.best_s,
        "median_s": row.median_s,
        "ratio": row.ratio,
        "at_most": row.at_most,
        "at_least": row.at_least,
        "met": row.met,
        "unit": row.unit,
    }


def machine() -> str:
    """Return the machine in words, without its name."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"


def versions() -> dict[str, str]:
    """Return the versions that the figures depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
