"""What a sweep and a job on Slurm cost, against sbatch alone: on the tests' own cluster.

A bare array is over when squeue has nothing of it any more. A job is started when its first line
runs on a node; the clock runs from the command that the user types. The scheduler looks at its
queue about once a second, whoever submitted: commands are given at any moment between two looks.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
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


def bare_start(folder: Path) -> float:
    """Return the seconds from sbatch to the first line of its script."""
    script = folder / "when.sh"
    script.write_text(WHEN)
    return _until_started(
        folder, lambda told: ("sbatch", "--quiet", "--output=/dev/null", str(script), told)
    )


def perdure_start(root: Path, perdure: tuple[str, ...]) -> float:
    """Return the seconds from `perdure run` to the first line of the training."""
    return _until_started(root, lambda told: (*perdure, "run", "-d", "--on", "lab", "when", told))


def _until_started(folder: Path, words: Callable[[str], tuple[str, ...]]) -> float:
    told = folder / "started"
    told.unlink(missing_ok=True)
    time.sleep(random.uniform(0, LOOKS_EVERY_S))
    began = time.time()
    subprocess.run(words(str(told)), cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)
    while not told.exists():
        time.sleep(0.005)
    seconds = float(told.read_text()) - began
    while _said("squeue", "--noheader", "--format=%i"):
        time.sleep(0.05)
    return seconds


def _said(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    return done.stdout.strip()
