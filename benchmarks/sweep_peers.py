"""A thousand no-op processes by other means: what a sweep is compared with.

`python sweep_peers.py WAY COUNT` runs COUNT times `true` and ends with 0 when all of them did.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable


def one() -> int:
    """Return the exit code of one no-op process."""
    return subprocess.run(["true"], check=False).returncode


def joblib_threads(count: int) -> int:
    """Return how many failed, with joblib's thread pool."""
    from joblib import Parallel, delayed

    cores = os.cpu_count() or 1
    codes: list[int] = Parallel(n_jobs=cores, backend="threading")(
        delayed(one)() for _ in range(count)
    )
    return sum(map(bool, codes))


def xargs(count: int) -> int:
    """Return how xargs ended."""
    words = ["xargs", "-P", str(os.cpu_count()), "-n", "1", "true"]
    lines = "".join(f"{n}\n" for n in range(count))
    return subprocess.run(words, input=lines.encode(), check=False).returncode


def gnu_parallel(count: int) -> int:
    """Return how many failed, with GNU parallel."""
    words = ["parallel", "-j", str(os.cpu_count()), "true"]
    lines = "".join(f"{n}\n" for n in range(count))
    return subprocess.run(words, input=lines.encode(), check=False).returncode


def submitit_local(count: int) -> int:
    """Return how many failed, each a job of submitit's local executor."""
    import submitit

    with tempfile.TemporaryDirectory() as folder:
        executor = submitit.LocalExecutor(folder)
        jobs = [executor.submit(one) for _ in range(count)]
        return sum(bool(job.result()) for job in jobs)


def ray_tasks(count: int) -> int:
    """Return how many failed, each a task of a Ray that is started for it."""
    import ray

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    remote = ray.remote(one)
    return sum(map(bool, ray.get([remote.remote() for _ in range(count)])))


WAYS: dict[str, Callable[[int], int]] = {
    "joblib threads": joblib_threads,
    "xargs": xargs,
    "GNU parallel": gnu_parallel,
    "submitit local": submitit_local,
    "Ray tasks": ray_tasks,
}
_NEEDS = {"joblib threads": "joblib", "submitit local": "submitit", "Ray tasks": "ray"}


def available(way: str) -> bool:
    """Return whether what a way needs is installed."""
    from importlib.util import find_spec

    if way in _NEEDS:
        return find_spec(_NEEDS[way]) is not None
    return shutil.which({"GNU parallel": "parallel"}.get(way, way)) is not None


if __name__ == "__main__":
    sys.exit(min(1, WAYS[sys.argv[1]](int(sys.argv[2]))))
