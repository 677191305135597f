"""Print what a sweep costs: a thousand no-op jobs against other ways to run them, in turns.

Each way is a whole process, from its start to the end of the last job; perdure's has run folders,
events and retries, and survives its terminal. The same on a Slurm, as root: on the tests' own.
Then what looking at 10,000 jobs takes, the driver's memory, and Optuna's share of a trial.

A file system that has just lost many files (ext4, some minutes) is slow to make new ones.

Peers that are not installed are left out; `--peers FOLDER` is where some are (`pip install --target
FOLDER submitit ray`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import measure, startup, sweep_peers, sweep_slurm

JOBS = 1000
MANY = 10_000
# As many as are in Slurm's hands at a time.
QUEUED = 5_000
# A peer that takes half a second a job is asked for fewer, and its time for all is told.
FEW = {"submitit local": 20}
LIST_WITHIN_S = 0.3
STARTS = 30
# The tests' scheduler looks at its queue twice a second.
OFTEN = ", scheduled twice a second"
DRIVER_MB = 100.0
TELL_WITHIN_S = 0.005
LIMIT_S = 1800.0
BARE_START = "bare sbatch: submit to start"
PERDURE_START = "perdure run on Slurm: submit to start"
PERDURE = startup.PERDURE
TABLE = """\
[project]
name = "noop"
[tool.perdure]
format = 1
package = "noop"
[tool.perdure.tasks]
noop = "true"
when = "./when.sh"
[tool.perdure.targets.lab]
kind = "slurm"
[tool.perdure.targets.later]
kind = "slurm"
lines = ["--hold"]
"""


def environment(peers: Path | None) -> dict[str, str]:
    """Return the variables for what is measured: perdure from here, peers from their folder."""
    hidden = ("PERDURE", "PYTHONDONTWRITEBYTECODE")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
    if peers is not None:
        kept["PYTHONPATH"] = str(peers)
    return kept


def peer(way: str, count: int, peers: Path | None) -> float:
    """Return the seconds that a way takes for `count` processes."""
    few = min(count, FEW.get(way, count))
    words = (sys.executable, sweep_peers.__file__, way, str(few))

    def run() -> None:
        subprocess.run(
            words, env=environment(peers), check=True, capture_output=True, timeout=LIMIT_S
        )

    return measure.timed(run) * count / few


class Sweeps:
    """A project in which sweeps of a no-op are run, one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.peak_mb = 0.0
        self._turn = 0
        (root / "pyproject.toml").write_text(TABLE)
        script = root / "when.sh"
        script.write_text(sweep_slurm.WHEN)
        script.chmod(0o755)

    def run(self, count: int, on: str = "local") -> float:
        """Return the seconds from the command to the end of its last job."""
        self._turn += 1
        name = f"turn-{self._turn}"
        words = (*PERDURE, "sweep", "--on", on, "--name", name, "noop", f"n=1..{count}")
        began = time.perf_counter()
        self.call(*words)
        self._await(name)
        seconds = time.perf_counter() - began
        ended = len(list((self.root / "results").glob(f"{name}-*/attempts/000001.jsonl")))
        if ended != count:
            raise SystemExit(f"only {ended} of {count} jobs ran")
        return seconds

    def call(self, *words: str) -> str:
        """Return what a command writes."""
        done = subprocess.run(
            words, cwd=self.root, env=environment(None), check=True, capture_output=True
        )
        return done.stdout.decode()

    def _await(self, name: str) -> None:
        from perdure.sweeps.holding import is_driven, last_word

        folder = self.root / ".perdure" / "sweeps" / name
        while is_driven(folder):
            word = last_word(folder)
            if word is not None:
                self.peak_mb = max(self.peak_mb, peak_mb(word.pid))
            time.sleep(0.01)


def peak_mb(pid: int) -> float:
    """Return the most memory that a process ever had, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = next((line for line in lines if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(found.split()[1]) / 1000


def optuna_share(root: Path, trials: int) -> float | None:
    """Return the seconds a trial that asking and telling take, None without Optuna."""
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        return None
    from perdure.model.sweep import Search
    from perdure.sweeps.record import Sweep
    from perdure.sweeps.tuner import Tuner

    search = Search(kind="optuna", trials=trials, metric="loss", sampler="random")
    sweep = Sweep("tuned", "noop", ({"lr": "1e-5..1e-1:log", "b": "16,32"},), search, 1, "")
    folder = root / "tuned"
    metrics = root / "run" / "metrics"
    folder.mkdir()
    metrics.mkdir(parents=True)
    rows = '{"perdure": 1, "chain": []}\n{"step": 1, "loss": 0.5}\n'
    (metrics / "000001.jsonl").write_text(rows)
    tuner = Tuner(folder, sweep)

    def all_of_them() -> None:
        for trial in range(1, trials + 1):
            tuner.values(trial)
            tuner.told(trial, metrics.parent, "SUCCEEDED")

    return measure.timed(all_of_them) / trials


def listed(root: Path, turns: int) -> dict[str, list[float]]:
    """Return the seconds of `sweep status` and `ps` over as many jobs as a large sweep has."""
    sweeps = Sweeps(root)
    sweeps.run(MANY)
    return looked_at(root, "turn-1", turns, f", {MANY} jobs")


def queued(root: Path, turns: int) -> dict[str, list[float]]:
    """Return the same of a sweep as large, of which Slurm holds as many jobs as it is given."""
    sweeps = Sweeps(root)
    sweeps.call(*PERDURE, "sweep", "--on", "later", "--name", "held", "noop", f"n=1..{MANY}")
    sweep_slurm.await_queued(QUEUED)
    # Times of folders that are younger may hide a change, and are not believed.
    time.sleep(3)
    try:
        return looked_at(root, "held", turns, f", {QUEUED} of {MANY} queued on Slurm")
    finally:
        sweep_slurm.empty()
        sweeps.call(*PERDURE, "sweep", "stop", "held")


def looked_at(root: Path, sweep: str, turns: int, of_what: str) -> dict[str, list[float]]:
    """Return the seconds of looking at a sweep and at all jobs, once all has been seen once."""
    words = {
        f"perdure sweep status{of_what}": (*PERDURE, "sweep", "status", sweep),
        f"perdure ps{of_what}": (*PERDURE, "ps"),
    }
    for argv in words.values():
        startup.call(argv, root)
    ways: dict[str, Callable[[], float]] = {
        name: lambda argv=argv: startup.call(argv, root)  # type: ignore[misc]
        for name, argv in words.items()
    }
    return measure.in_turns(ways, turns)


def on_slurm(
    sweeps: Sweeps, jobs: int, turns: int, peers: Path | None, *, many: bool
) -> dict[str, list[float]]:
    """Return the seconds of arrays, of single jobs and of looking, {} where there is no Slurm."""
    started = sweep_slurm.start()
    if started is None:
        return {}
    root = sweeps.root
    ways: dict[str, Callable[[], float]] = {
        sweep_slurm.BARE: lambda: sweep_slurm.bare_array(root, jobs),
        sweep_slurm.PERDURE: lambda: sweeps.run(jobs, "lab"),
    }
    if sweep_peers.available("submitit local"):
        ways[sweep_slurm.SUBMITIT] = lambda: sweep_slurm.submitit_array(
            root, jobs, environment(peers)
        )
    try:
        found = measure.in_turns(ways, turns) | starts(root, OFTEN)
        with sweep_slurm.scheduling_as_it_comes():
            found |= starts(root, "")
        return found | (queued(root.parent / "held", turns * 2) if many else {})
    finally:
        if started:
            sweep_slurm.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--no-many", dest="many", action="store_false", help="no 10,000 jobs")
    options = parser.parse_args()
    if options.peers is not None:
        sys.path.append(str(options.peers))
    peers = [way for way in sweep_peers.WAYS if sweep_peers.available(way)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in ("runs", "many", "held", "tuned"):
            (root / folder).mkdir()
        sweeps = Sweeps(root / "runs")
        ways: dict[str, Callable[[], float]] = {
            way: lambda way=way: peer(way, options.jobs, options.peers)  # type: ignore[misc]
            for way in peers
        }
        ways["perdure"] = lambda: sweeps.run(options.jobs)
        found = measure.in_turns(ways, options.turns)
        turns = max(1, options.turns // 2)
        slurm = on_slurm(sweeps, options.jobs, turns, options.peers, many=options.many)
        many = {name: slurm.pop(name) for name in list(slurm) if "queued" in name}
        if options.many:
            many = listed(root / "many", options.turns * 2) | many
        share = optuna_share(root / "tuned", 200)
    rest = [*told_of_slurm(slurm, options.jobs), *told_of_many(many)]
    finish(found, rest, sweeps.peak_mb, share, options.jobs)


def starts(root: Path, when: str) -> dict[str, list[float]]:
    """Return the seconds that single jobs take to start on a Slurm, each way's called `when`."""
    bare, ours = sweep_slurm.moments(), sweep_slurm.moments()
    ways: dict[str, Callable[[], float]] = {
        BARE_START + when: lambda: sweep_slurm.bare_start(root, next(bare)),
        PERDURE_START + when: lambda: sweep_slurm.perdure_start(root, PERDURE, next(ours)),
    }
    return measure.in_turns(ways, STARTS)


def told_of_slurm(slurm: dict[str, list[float]], jobs: int) -> list[measure.Line]:
    """Return what is reported of a Slurm."""
    if not slurm:
        return []
    ways = [way for way in (sweep_slurm.BARE, sweep_slurm.SUBMITIT) if way in slurm]
    lines = [measure.line(f"{way}: {jobs} no-ops", slurm[way]) for way in ways]
    name, bare = f"{sweep_slurm.PERDURE}: {jobs} no-ops", slurm[sweep_slurm.BARE]
    lines.append(measure.against(name, slurm[sweep_slurm.PERDURE], bare, at_most=1.1))
    return [*lines, *told_of_starts(slurm, "", 1.1), *told_of_starts(slurm, OFTEN, None)]


def told_of_starts(
    slurm: dict[str, list[float]], when: str, at_most: float | None
) -> list[measure.Line]:
    """Return what is reported of single jobs."""
    # How long the scheduler lets a job wait is chance: of many, the one in the middle.
    ours, limit = slurm[PERDURE_START + when], statistics.median(slurm[BARE_START + when])
    usual = statistics.median(ours)
    told = measure.Line(PERDURE_START + when, min(ours), usual, usual / limit, at_most=at_most)
    return [measure.line(BARE_START + when, slurm[BARE_START + when]), told]


def told_of_many(many: dict[str, list[float]]) -> list[measure.Line]:
    """Return what is reported of looking at many jobs."""
    lines = []
    for name, seconds in many.items():
        lines.append(measure.line(name, seconds))
        lines.append(startup.within(f"  {name}, to 300 ms", min(seconds), LIST_WITHIN_S))
    return lines


def finish(
    found: dict[str, list[float]],
    rest: list[measure.Line],
    peak: float,
    share: float | None,
    jobs: int,
) -> None:
    """Report all of it."""
    lines = [measure.line(f"{way}: {jobs} no-ops", found[way]) for way in found if way != "perdure"]
    limit = found["joblib threads"]
    name = f"perdure sweep: {jobs} no-ops"
    lines.append(measure.against(name, found["perdure"], limit, at_most=2))
    lines.append(measure.amount("the driver's memory", peak, "MB", peak / DRIVER_MB, at_most=1))
    lines += rest
    if share is not None:
        lines.append(measure.line("Optuna: ask and tell, a trial", [share]))
        lines.append(startup.within("  to 5 ms", share, TELL_WITHIN_S))
    notes = [f"{way}: measured with {few} jobs" for way, few in FEW.items() if way in found]
    if any(line.name.startswith(sweep_slurm.SUBMITIT) for line in rest):
        notes.append(f"{sweep_slurm.SUBMITIT}: measured with {sweep_slurm.SUBMITIT_JOBS} jobs")
    measure.report("sweep", lines, notes)


if __name__ == "__main__":
    main()
