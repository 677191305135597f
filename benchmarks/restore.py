"""Print how fast a checkpoint is restored, against the disk's cold read of the same file.

Restoring reads and verifies every byte and loads model and optimizer, into a training that has not
taken a step. Nothing comes from the page cache: it is dropped for the file (POSIX_FADV_DONTNEED)
before each reading, and both sides read past it (O_DIRECT). The limit reads the file into memory
that is warm, with as many readers as restoring has, and does nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import measure, states
from perdure.runtime import disk, staging


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def cold_read(path: Path, memory: memoryview) -> float:
    """Return the seconds that reading the file takes."""
    forget(path)
    began = time.perf_counter()
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECT", 0))
    size = os.fstat(fd).st_size

    def some(first: int) -> None:
        for start in range(first * disk.READ_BYTES, size, disk.READERS * disk.READ_BYTES):
            end = min(start + disk.READ_BYTES, -(-size // staging.PAGE) * staging.PAGE)
            os.preadv(fd, [memory[start:end]], start)

    threads = [threading.Thread(target=some, args=(n,)) for n in range(disk.READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(fd)
    return time.perf_counter() - began


def restore(folder: Path, mib: int, path: Path) -> float:
    """Return the seconds that restoring takes, from the run folder to the loaded tensors."""
    training = states.Training(mib, stepped=False)
    forget(path)
    keeper = states.keeper(folder, training)
    began = time.perf_counter()
    found = keeper.restore()
    seconds = time.perf_counter() - began
    assert found is not None
    keeper.release()
    return seconds


def resident_mib() -> float:
    """Return the memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary folder")
    options = parser.parse_args()
    finish(*measure_restores(options.mib, options.turns, options.folder))


def measure_restores(
    mib: int, turns: int, parent: str | None
) -> tuple[dict[str, list[float]], float, float]:
    """Return the seconds of cold reads and restores, the state's MiB, and the staging buffer's."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name) / "run"
        training = states.Training(mib)
        before = resident_mib()
        restore_only = states.keeper(folder, training)
        restore_only.save(states.meta(1), states.generators())
        restore_only.finish()
        staged = resident_mib() - before
        del restore_only  # its staging buffer is not part of a restore
        path = next((folder / "checkpoints").glob("g*")) / "state.safetensors"
        memory = staging.allocate(path.stat().st_size)
        staging.prefault(memory)
        found = measure.in_turns(
            {
                "cold": lambda: cold_read(path, memoryview(memory)),
                "restore": lambda: restore(folder, mib, path),
            },
            turns,
        )
    return found, training.nbytes() / 2**20, staged


def finish(found: dict[str, list[float]], size: float, staged: float) -> None:
    """Report how fast a state comes back."""
    measure.report(
        "restore",
        [
            measure.line("cold read of the file, O_DIRECT, warm memory", found["cold"]),
            measure.against(
                "perdure: restore, verified and loaded",
                found["restore"],
                found["cold"],
                at_least=0.8,
            ),
        ],
        [
            f"{size:.0f} MiB of state; the ratio is of speeds",
            f"the staging buffer took {staged / size:.3f}x the state of memory",
        ],
    )


if __name__ == "__main__":
    main()
