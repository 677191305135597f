"""Print what a supervisor costs: its start-up and its memory, each against a bare interpreter.

Both are claims of the README: the child is there within 50 ms, and the supervisor takes less than
20 MB. The limit is measured in the same run: an interpreter that does nothing but start a child.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUPERVISOR = ROOT / "src" / "perdure" / "runtime" / "supervisor" / "__main__.py"
BARE = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
# The child is a program that starts at once: it tells the time and its parent's peak memory.
CHILD = 'date +%s.%N >"$1"; grep VmHWM "/proc/$PPID/status" >>"$1"'


def interpreter() -> list[str]:
    return [sys.executable, "-I", "-S"]


def bare(child: list[str], _: Path) -> list[str]:
    return [*interpreter(), "-c", BARE, *child]


def by_path(child: list[str], run_dir: Path) -> list[str]:
    return [*interpreter(), str(SUPERVISOR), "--run-dir", str(run_dir), "--", *child]


def as_archive(child: list[str], run_dir: Path) -> list[str]:
    archive = run_dir.parents[1] / "supervisor.pyz"
    return [*interpreter(), str(archive), "--run-dir", str(run_dir), "--", *child]


WAYS = {"bare interpreter": bare, "supervisor": by_path, "supervisor as a zipapp": as_archive}


def measure(way: str, folder: Path, turn: int) -> tuple[float, float]:
    """Return the seconds until the child began, and the parent's peak memory in MB."""
    run_dir = folder / way / str(turn)
    run_dir.mkdir(parents=True)
    report = run_dir / "report"
    command = WAYS[way](["sh", "-c", CHILD, "child", str(report)], run_dir)
    began = time.time()
    subprocess.run(command, check=True)
    at, _, peak, _ = report.read_text().split()
    return float(at) - began, int(peak) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=30)
    turns = parser.parse_args().turns
    sys.path.insert(0, str(ROOT / "src"))
    from perdure.runtime.supervisor.archive import build_archive

    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = build_archive(folder / "supervisor.pyz")
        size = archive.stat().st_size
        for turn in range(-2, turns):  # two to warm up; the ways take turns, so load hits all alike
            for way, values in found.items():
                value = measure(way, folder, turn)
                if turn >= 0:
                    values.append(value)
    limit_s = statistics.median(seconds for seconds, _ in found["bare interpreter"])
    limit_mb = statistics.median(peak for _, peak in found["bare interpreter"])
    print(f"{'':24}{'child began after':>24}{'ratio':>8}{'peak memory':>16}{'ratio':>8}")
    for way, values in found.items():
        seconds, best = statistics.median(v[0] for v in values), min(v[0] for v in values)
        peak = statistics.median(v[1] for v in values)
        times = f"{best * 1e3:.0f} ({seconds * 1e3:.0f}) ms"
        print(f"{way:24}{times:>24}{seconds / limit_s:8.2f}{peak:13.1f} MB{peak / limit_mb:8.2f}")
    print(f"zipapp: {size / 1000:.0f} KB; times are best (median) of {turns}")


if __name__ == "__main__":
    main()
