"""What `perdure ps` costs for a job on another host, over a connection that is there.

Two projects with one job each that runs: here, and on a host of tests/engines/hosts. The command is
the real one, a process each time; the two take turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import measure
from tests.engines import hosts as engine

HOST = "gpu1"
TRIPS_MS = {HOST: 0, f"{HOST}-rtt20": 20}
BEYOND_S = 0.010
_PROJECT = (
    '[project]\nname = "waits"\nversion = "0"\n[tool.perdure]\nformat = 1\npackage = "waits"\n'
)
_SLEEP = ("python", "-c", "import time; time.sleep(3600)")


class Waiting:
    """A project whose one job waits on a target."""

    def __init__(self, root: Path, target: str) -> None:
        self._root = root
        (root / "src" / "waits").mkdir(parents=True)
        (root / "src" / "waits" / "__init__.py").touch()
        (root / "pyproject.toml").write_text(_PROJECT)
        self._perdure("run", "-d", "--on", target, "--name", "one", "--", *_SLEEP)

    def ps(self) -> float:
        """Return the seconds of `perdure ps`."""
        return measure.timed(lambda: self._perdure("ps"))

    def end(self) -> None:
        """Kill the job."""
        self._perdure("kill", "one")

    def _perdure(self, *words: str) -> None:
        argv = [sys.executable, "-m", "perdure.cli.main", *words]
        # As it is installed: compiled once.
        around = {**os.environ, "PYTHONPYCACHEPREFIX": os.fspath(self._root.parent / "compiled")}
        around.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            argv, cwd=self._root, env=around, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"perdure {' '.join(words)}: {done.stderr}")


def rows_of(folder: Path, hosts: engine.Hosts, turns: int) -> list[measure.Line]:
    """Return the rows, for each round trip."""
    root = hosts.place(HOST) / f"bench-ps-{os.getpid()}"
    config = folder / "config" / "perdure" / "config.toml"
    config.parent.mkdir(parents=True)
    lines = '[targets."{0}"]\nhost = "{0}"\nengine = "process"\nroot = "{1}"\n'
    config.write_text("".join(lines.format(host, root / host) for host in TRIPS_MS))
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    ways = {name: Waiting(folder / f"waits on {name}", name) for name in ("local", *TRIPS_MS)}
    try:
        calls = {name: way.ps for name, way in ways.items()}
        measure.in_turns(calls, 2)
        found = measure.in_turns(calls, turns)
    finally:
        for way in ways.values():
            way.end()
        hosts.run(HOST, "rm", "-rf", str(root))
    here = found["local"]
    rows = [measure.line("perdure ps: a job here", here)]
    for host, trip_ms in TRIPS_MS.items():
        label = f", {trip_ms} ms round trip" if trip_ms else ""
        seconds = found[host]
        # Of each turn: what else the machine does meanwhile hits both alike.
        beyond = statistics.median(b - a for a, b in zip(here, seconds, strict=True))
        rows.append(measure.line(f"perdure ps: a job on another host{label}", seconds))
        limit_s = trip_ms / 1000 + BEYOND_S
        ratio = beyond / limit_s
        name = f"  beyond the one here{label}"
        rows.append(measure.amount(name, beyond * 1000, "ms", ratio, at_most=1))
    return rows
