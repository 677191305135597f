"""What a sweep and a job on Slurm cost, against sbatch alone: on the tests' own cluster.

A bare array is over when squeue has nothing of it any more. A job is started when its first line
runs on a node; the clock runs from the command that the user types. How long a scheduler lets a
job wait hangs on when it looks at its queue next, whoever submitted: each way's commands are spread
evenly over a second. That is measured as Slurm schedules by default, and as the tests have it look.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.engines import slurm

LIMIT_S = 1800.0
LOOKS_EVERY_S = 1.0
BARE = "bare sbatch array"
PERDURE = "perdure sweep on Slurm"
SUBMITIT = "submitit on Slurm"
# A job takes submitit two seconds, and a thousand of them three minutes: fewer, told for all.
SUBMITIT_JOBS = 50
NOTHING = "#!/bin/sh\ntrue\n"
WHEN = '#!/bin/sh\ndate +%s.%N >"$1.part"\nmv "$1.part" "$1"\n'


def start() -> bool | None:
    """Return whether the cluster was started for this, None where there can be none."""
    if os.geteuid() != 0:
        return None
    try:
        started = slurm.start()
    except RuntimeError:
        return None
    os.environ["SLURM_CONF"] = str(slurm.Cluster().conf)
    return started


def stop() -> None:
    """Stop what `start` started."""
    slurm.stop()


def await_queued(count: int) -> None:
    """Return once the cluster has so many jobs."""
    while len(_said("squeue", "--noheader", "--array", "--format=%i").splitlines()) < count:
        time.sleep(0.2)


def empty() -> None:
    """Have the cluster forget all jobs."""
    _said("scancel", "--user=root")


def bare_array(folder: Path, count: int) -> float:
    """Return the seconds from sbatch to the end of the last of an array's no-ops."""
    script = folder / "nothing.sh"
    script.write_text(NOTHING)
    began = time.perf_counter()
    words = ("sbatch", "--parsable", f"--array=1-{count}", "--output=/dev/null", str(script))
    number = _said(*words)
    while _said("squeue", "--noheader", f"--jobs={number}", "--format=%i"):
        time.sleep(0.05)
    return time.perf_counter() - began


def submitit_array(folder: Path, count: int, env: Mapping[str, str]) -> float:
    """Return what `count` jobs of submitit would take, by a few of them."""
    few = min(count, SUBMITIT_JOBS)
    program = (
        "import submitit, sys\n"
        "executor = submitit.SlurmExecutor(sys.argv[1])\n"
        "executor.update_parameters(time=5)\n"
        "jobs = executor.map_array(abs, range(int(sys.argv[2])))\n"
        "[job.result() for job in jobs]\n"
    )
    words = (sys.executable, "-c", program, str(folder / "submitit"), str(few))
    began = time.perf_counter()
    subprocess.run(words, env=env, check=True, capture_output=True, timeout=LIMIT_S)
    return (time.perf_counter() - began) * count / few


@contextlib.contextmanager
def scheduling_as_it_comes() -> Iterator[None]:
    """Have the cluster schedule by Slurm's own defaults for a while: the tests' looks oftener."""
    conf = slurm.Cluster().conf
    before = conf.read_text()
    kept = [line for line in before.splitlines() if not line.startswith("SchedulerParameters=")]
    try:
        conf.write_text("\n".join(kept) + "\n")
        _said("scontrol", "reconfigure")
        yield
    finally:
        conf.write_text(before)
        _said("scontrol", "reconfigure")


def moments() -> Iterator[float]:
    """Yield parts of the time between two looks, as even as so many can be (golden ratio)."""
    for turn in itertools.count():
        yield turn * 0.6180339887498949 % 1.0 * LOOKS_EVERY_S


def bare_start(folder: Path, moment: float) -> float:
    """Return the seconds from sbatch, given at a moment, to the first line of its script."""
    script = folder / "when.sh"
    script.write_text(WHEN)
    words = ("sbatch", "--quiet", "--output=/dev/null", str(script))
    return _until_started(folder, words, moment)


def perdure_start(root: Path, perdure: tuple[str, ...], moment: float) -> float:
    """Return the seconds from `perdure run`, given at a moment, to the training's first line."""
    return _until_started(root, (*perdure, "run", "-d", "--on", "lab", "when"), moment)


def _until_started(folder: Path, words: tuple[str, ...], moment: float) -> float:
    told = folder / "started"
    told.unlink(missing_ok=True)
    time.sleep((moment - time.time()) % LOOKS_EVERY_S)
    began = time.time()
    argv = (*words, str(told))
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)
    while not told.exists():
        time.sleep(0.005)
    seconds = float(told.read_text()) - began
    while _said("squeue", "--noheader", "--format=%i"):
        time.sleep(0.05)
    return seconds


def _said(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    return done.stdout.strip()
