"""Compare perdure's sync with rsync, unison and lsyncd, in one run, over a network.

10,000 files of 20 KB go to a host of tests/engines/hosts; round trips are added by a relay that
holds each packet back. A save is done as an editor does it (a new file, renamed over the old one,
and in place, in turns) and is visible once the host's own file has the new contents.

    benchmarks/sync.py [--files N] [--saves N] [--turns N]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import measure, sync_ps
from benchmarks.sync_peers import TARGET, Lsyncd, Perdure, Rsync, Unison, Way, there_are
from perdure.sync import session
from tests.engines import hosts as engine

HOST = "gpu1"
TRIPS_MS = {HOST: 0, f"{HOST}-rtt20": 20, f"{HOST}-rtt60": 60}
FILE_BYTES = 20_000
IDLE_S = 20.0
BEYOND_S = 0.015
CHECKOUT = 3000
LIMIT_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    """The tree here, and its places there."""

    def __init__(self, folder: Path, hosts: engine.Hosts, files: int) -> None:
        self.here = folder / "here"
        self.hosts = hosts
        self.paths = [f"d{number % 100}/f{number}.py" for number in range(files)]
        self._content = os.urandom(1 << 20)
        self._count = 0
        for path in self.paths:
            (self.here / path).parent.mkdir(parents=True, exist_ok=True)
            self.write(path)
        for words in (("init", "-q"), ("add", "-A")):
            subprocess.run(["git", "-C", self.here, *words], check=True, capture_output=True)

    def content(self) -> bytes:
        """Return a content that no file had before."""
        self._count += 1
        return b"%08d" % self._count + self._content[self._count % 900_000 :][: FILE_BYTES - 8]

    def write(self, path: str) -> bytes:
        """Write a file in place, and return what it has now."""
        content = self.content()
        (self.here / path).write_bytes(content)
        return content

    def save(self, path: str, *, in_place: bool) -> bytes:
        """Save a file as an editor does, and return what it has now."""
        if in_place:
            return self.write(path)
        content = self.content()
        draft = self.here / f"{path}.tmp"
        draft.write_bytes(content)
        draft.replace(self.here / path)
        return content

    def place(self) -> Path:
        """Return a folder on the host that is not there yet."""
        return self.hosts.place(HOST) / f"bench-{time.time_ns()}"


def visible(file: Path, content: bytes) -> None:
    """Return once a file has a content.

    Raises:
        RuntimeError: it never does.
    """
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            if file.read_bytes() == content:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.0005)
    raise RuntimeError(f"{file} was not brought up to date")


def first_s(bench: Bench, way: Way) -> float:
    """Return the seconds of a first copy.

    The copy stays until `main` ends: ext4 steps over each inode that was given back in the last
    minutes, which makes a copy that follows a removal several times slower, whoever makes it.
    """
    print(f"  {way.name}: first copy", file=sys.stderr, flush=True)
    shutil.rmtree(bench.here / ".perdure", ignore_errors=True)
    there = bench.place()
    there.mkdir()
    try:
        return measure.timed(lambda: way.start(bench.here, there, HOST))
    finally:
        way.stop()


def saves_s(bench: Bench, way: Way, host: str, saves: int) -> list[float]:
    """Return the seconds from each save until it was visible."""
    shutil.rmtree(bench.here / ".perdure", ignore_errors=True)
    there = bench.place()
    there.mkdir()
    found = []
    try:
        way.start(bench.here, there, host)
        for number in range(saves):
            path = bench.paths[number * 7 % len(bench.paths)]
            began = time.perf_counter()
            content = bench.save(path, in_place=number % 2 == 0)
            way.saved([path])
            visible(there / path, content)
            found.append(time.perf_counter() - began)
            time.sleep(0.05)
    finally:
        way.stop()
        shutil.rmtree(there)
    return found


def checkout_s(bench: Bench, way: Way) -> tuple[float, float]:
    """Return the seconds until thousands of files, changed at once, are there.

    Counted from the last write on, as whoever checked out waits, and from the first one on.
    """
    print(f"  {way.name}: many files at once", file=sys.stderr, flush=True)
    shutil.rmtree(bench.here / ".perdure", ignore_errors=True)
    there = bench.place()
    there.mkdir()
    try:
        way.start(bench.here, there, HOST)
        changed = bench.paths[:CHECKOUT]
        began = time.perf_counter()
        contents = {path: bench.write(path) for path in changed}
        written = time.perf_counter()
        way.saved(changed)
        for path, content in contents.items():
            visible(there / path, content)
        ended = time.perf_counter()
        return ended - written, ended - began
    finally:
        way.stop()
        shutil.rmtree(there)


def reconnect_s(bench: Bench) -> list[float]:
    """Return the seconds of a new session that finds nothing to do."""
    shutil.rmtree(bench.here / ".perdure", ignore_errors=True)
    there, way, found = bench.place(), Perdure(), []
    try:
        way.start(bench.here, there, HOST)
        for _ in range(3):
            way.stop()
            found.append(measure.timed(lambda: way.start(bench.here, there, HOST)))
    finally:
        way.stop()
        shutil.rmtree(there)
    return found


def idle(bench: Bench) -> tuple[float, float]:
    """Return the share of a core (%) and the memory (MiB) of both ends while nothing happens."""
    shutil.rmtree(bench.here / ".perdure", ignore_errors=True)
    there, way = bench.place(), Perdure()
    try:
        way.start(bench.here, there, HOST)
        time.sleep(3.0)
        pids = both_ends(bench)
        before = sum(map(cpu_s, pids))
        time.sleep(IDLE_S)
        used = sum(map(cpu_s, pids)) - before
        return used / IDLE_S * 100, sum(map(resident_mib, pids))
    finally:
        way.stop()
        shutil.rmtree(there)


def both_ends(bench: Bench) -> list[int]:
    """Return the processes of a session: the one here, its ssh, and the agent there."""
    found = session.status(bench.here, TARGET)
    assert found is not None
    pid = int(found["pid"])
    asked = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [pid, *map(int, asked.stdout.split()), *agents(bench)]


def agents(bench: Bench) -> Iterator[int]:
    """Yield the agents on the host."""
    number = (bench.hosts.state / HOST / "init").read_text().strip()
    space = Path(f"/proc/{number}/ns/pid").readlink()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            if b"zlib.decompress" in words and (folder / "ns/pid").readlink() == space:
                yield int(folder.name)
        except OSError:
            continue


def cpu_s(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> float:
    """Return the memory of a process that it shares with no other."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return int(lines["Pss"].split()[0]) / 1024


def within(name: str, seconds: Sequence[float], limit_s: float) -> measure.Line:
    """Return a row whose median is held to a limit in seconds."""
    median = statistics.median(seconds)
    return measure.Line(name, min(seconds), median, median / limit_s, at_most=1)


def first_rows(bench: Bench, ways: Sequence[Way], turns: int) -> list[measure.Line]:
    """Return the rows of the first copy; perdure's comes first in `ways`, rsync's second."""
    calls: dict[str, Callable[[], float]] = {
        way.name: lambda way=way: first_s(bench, way)  # type: ignore[misc]
        for way in ways
    }
    found = measure.in_turns(calls, turns)
    ours, rsync, *others = (found[way.name] for way in ways)
    label = f"{len(bench.paths)} files, first copy"
    rows = [
        measure.against(f"perdure: {label}", ours, rsync, at_most=1.5),
        measure.line(f"rsync: {label}", rsync),
    ]
    names = [way.name for way in ways[2:]]
    return rows + [
        measure.line(f"{name}: {label}", each) for name, each in zip(names, others, strict=True)
    ]


def save_rows(bench: Bench, ways: Sequence[Way], saves: int) -> list[measure.Line]:
    """Return the rows of saves at each round trip."""
    rows = []
    for host, trip_ms in TRIPS_MS.items():
        label = f"save to visible, {trip_ms} ms round trip" if trip_ms else "save to visible"
        ours: list[float] = []
        for way in ways:
            print(f"  {way.name}: {label}", file=sys.stderr, flush=True)
            try:
                seconds = saves_s(bench, way, host, saves)
            except RuntimeError as error:
                print(f"  left out: {error}", file=sys.stderr, flush=True)
                continue
            if isinstance(way, Perdure):
                ours = seconds
                limit_s = trip_ms / 2000 + BEYOND_S
                rows.append(within(f"perdure: {label}", seconds, limit_s))
            elif trip_ms == 20 and "saved" in way.name:
                median, theirs = statistics.median(ours), statistics.median(seconds)
                row = measure.Line(
                    f"{way.name}: {label}", min(seconds), theirs, theirs / median, at_least=2
                )
                rows.append(row)
            else:
                rows.append(measure.line(f"{way.name}: {label}", seconds))
            p95 = sorted(seconds)[int(len(seconds) * 0.95)] * 1000
            rows.append(measure.amount("  of 100, 95 within", p95, "ms"))
    return rows


def rows_of(bench: Bench, saves: int, turns: int) -> list[measure.Line]:
    """Return all rows."""
    files, tree = Rsync(tree=False), Rsync(tree=True)
    ways: list[Way] = [Perdure(), files, tree]
    ways += [Unison()] if there_are("unison") else []
    ways += [Lsyncd()] if there_are("lsyncd") else []
    several = [way for way in ways if way is not tree]
    rows = first_rows(bench, several, turns)
    rows += save_rows(bench, ways, saves)
    for way in several:
        after, whole = checkout_s(bench, way)
        name = f"{way.name}: {CHECKOUT} files changed at once"
        ours = isinstance(way, Perdure)
        rows.append(within(name, [after], 2.0) if ours else measure.line(name, [after]))
        rows.append(measure.line(f"  with the writing of them: {way.name}", [whole]))
    rows.append(within("perdure: a new session, nothing changed", reconnect_s(bench), 1.0))
    share, memory = idle(bench)
    name = "perdure: idle, both ends, of a core"
    rows.append(measure.amount(name, share, "%", share / 1.5, at_most=1))
    rows.append(measure.amount("  memory", memory, "MiB", memory / 110, at_most=1))
    return rows


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--saves", type=int, default=50)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    engine.start()
    hosts = engine.Hosts()
    folder = Path(tempfile.mkdtemp(prefix="perdure-bench-"))
    (folder / "home/.ssh").mkdir(parents=True)
    (folder / "home/.ssh/config").symlink_to(hosts.config())
    os.environ["HOME"] = str(folder / "home")
    os.environ["PATH"] = f"{hosts.ssh()}{os.pathsep}{os.environ['PATH']}"
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        bench = Bench(folder, hosts, options.files)
        rows = rows_of(bench, options.saves, options.turns)
        rows += sync_ps.rows_of(folder, hosts, options.saves)
        measure.report("sync", rows)
    finally:
        for each in (folder, *hosts.place(HOST).glob("bench-*")):
            shutil.rmtree(each, ignore_errors=True)


if __name__ == "__main__":
    main()
