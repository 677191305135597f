"""Print what a checkpoint costs: how long the training waits, and when it is durable.

Limits of the same run: a warm memcpy of the same arrays (and one memcpy of as many bytes in one
piece), and a raw write + fsync of the same bytes, by O_DIRECT or through the page cache, whichever
is faster. Peers: torch.save + fsync, safetensors + fsync, torch.distributed.checkpoint.async_save,
as it comes and with a stager that is reused.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks import measure, states
from perdure.runtime import staging

if TYPE_CHECKING:
    from torch.distributed.checkpoint.staging import DefaultStager

PART = 256 << 20

Saved = tuple[float, float]


class Bench:
    """One state, one folder, and every way to save the one into the other."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder = folder
        self.training = states.Training(mib)
        self.nbytes = self.training.nbytes()
        self.memory = staging.allocate(self.nbytes)
        staging.prefault(self.memory)
        self.other = staging.allocate(self.nbytes)
        staging.prefault(self.other)
        self.keeper = states.keeper(folder / "run", self.training)
        self.step = 0
        self._stager: DefaultStager | None = None

    def memcpy_arrays(self) -> Saved:
        """Copy array by array into memory that is warm."""
        at = staging.address(self.memory)
        began = time.perf_counter()
        for tensor in self.training.tensors():
            size = tensor.numel() * tensor.element_size()
            ctypes.memmove(at, tensor.data_ptr(), size)
            at += size
        seconds = time.perf_counter() - began
        return seconds, seconds

    def memcpy_whole(self) -> Saved:
        """Copy as many bytes in one piece, from one warm memory to another."""
        source, target = staging.address(self.other), staging.address(self.memory)
        seconds = measure.timed(lambda: ctypes.memmove(target, source, self.nbytes))
        return seconds, seconds

    def raw(self, flags: int) -> Saved:
        """Write the bytes to a new file, and fsync."""
        path = self.folder / "raw"
        path.unlink(missing_ok=True)
        began = time.perf_counter()
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | flags, 0o644)
        with memoryview(self.memory) as whole:
            for start in range(0, self.nbytes, PART):
                os.pwrite(fd, whole[start : min(start + PART, self.nbytes)], start)
        os.fsync(fd)
        os.close(fd)
        seconds = time.perf_counter() - began
        path.unlink()
        return seconds, seconds

    def perdure(self) -> Saved:
        """Save as a run does: the training goes on after the copy."""
        self.step += 1
        began = time.perf_counter()
        self.keeper.save(states.meta(self.step), states.generators())
        stall = time.perf_counter() - began
        self.keeper.wait()
        seconds = time.perf_counter() - began
        self.keeper.finish()
        return stall, seconds

    def _file(self, write: Callable[[Path], None]) -> Saved:
        path = self.folder / "peer"
        path.unlink(missing_ok=True)
        began = time.perf_counter()
        write(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        seconds = time.perf_counter() - began
        path.unlink()
        return seconds, seconds

    def torch_save(self) -> Saved:
        """Save by torch.save, then fsync."""
        return self._file(lambda path: torch.save(self.training.tree(), path))

    def safetensors(self) -> Saved:
        """Save by safetensors, then fsync."""
        from safetensors.torch import save_file

        tensors = {str(n): tensor for n, tensor in enumerate(self.training.tensors())}
        return self._file(lambda path: save_file(tensors, path))

    def dcp(self, *, reused: bool) -> Saved:
        """Save by torch.distributed.checkpoint.async_save; its own fsync is on, as by default."""
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
        from torch.distributed.checkpoint.state_dict_saver import async_save

        path = self.folder / "dcp"
        shutil.rmtree(path, ignore_errors=True)
        if reused and self._stager is None:
            options = StagingOptions(
                use_pinned_memory=False, use_shared_memory=True, use_async_staging=False,
                use_non_blocking_copy=False,
            )  # fmt: skip
            self._stager = DefaultStager(options)
        stager = self._stager if reused else None
        began = time.perf_counter()
        future = async_save(
            self.training.tree(), checkpoint_id=path, async_stager=stager, no_dist=True
        )
        stall = time.perf_counter() - began
        (future if not hasattr(future, "upload_completion") else future.upload_completion).result()
        seconds = time.perf_counter() - began
        shutil.rmtree(path)
        return stall, seconds


def gather(ways: dict[str, Callable[[], Saved]], turns: int) -> dict[str, list[Saved]]:
    """Return what each way took, in turns; the first turn warms up."""
    found: dict[str, list[Saved]] = {name: [] for name in ways}
    for turn in range(-1, turns):
        for name, way in ways.items():
            value = way()
            if turn >= 0:
                found[name].append(value)
    return found


def rows(found: dict[str, list[Saved]]) -> tuple[list[measure.Line], list[str]]:
    """Return the table and what is to be said of it."""
    stalls = {name: [stall for stall, _ in values] for name, values in found.items()}
    durable = {name: [seconds for _, seconds in values] for name, values in found.items()}
    raw = min(("raw O_DIRECT", "raw buffered"), key=lambda name: min(durable[name]))
    ours = stalls["perdure"]
    lines = [
        measure.line("memcpy, array by array, warm", stalls["memcpy arrays"]),
        measure.line("memcpy, one piece, warm", stalls["memcpy whole"]),
        measure.against("perdure: stall", ours, stalls["memcpy arrays"], at_most=1.2),
        measure.against("perdure: stall, to one piece", ours, stalls["memcpy whole"]),
        measure.line("raw O_DIRECT write + fsync", durable["raw O_DIRECT"]),
        measure.line("raw buffered write + fsync", durable["raw buffered"]),
        measure.against("perdure: durable", durable["perdure"], durable[raw], at_most=1.5),
    ]
    for name in ("torch.save + fsync", "safetensors + fsync", "dcp async", "dcp async, reused"):
        lines.append(measure.against(f"{name}: stall", stalls[name], stalls["memcpy arrays"]))
        lines.append(measure.against(f"{name}: durable", durable[name], durable[raw]))
    return lines, [
        f"stall to the memcpy of the same arrays; durable to `{raw}`, the faster; best to best"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        bench = Bench(Path(name), options.mib)
        ways: dict[str, Callable[[], Saved]] = {
            "memcpy arrays": bench.memcpy_arrays,
            "memcpy whole": bench.memcpy_whole,
            "perdure": bench.perdure,
            "raw O_DIRECT": lambda: bench.raw(getattr(os, "O_DIRECT", 0)),
            "raw buffered": lambda: bench.raw(0),
            "torch.save + fsync": bench.torch_save,
            "safetensors + fsync": bench.safetensors,
            "dcp async": lambda: bench.dcp(reused=False),
            "dcp async, reused": lambda: bench.dcp(reused=True),
        }
        lines, notes = rows(gather(ways, options.turns))
        measure.report("checkpoint", lines, [f"{bench.nbytes / 2**20:.0f} MiB of state", *notes])


if __name__ == "__main__":
    main()
