"""Print what a checkpoint of a state on a GPU costs: pinned staging on a stream of its own.

The limit is one copy of as many bytes from the GPU into pinned memory. Without a CUDA device it
says that it was not run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks import measure, states


def to_pinned(source: torch.Tensor, target: torch.Tensor) -> float:
    """Return the seconds of one copy into pinned memory."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    target.copy_(source, non_blocking=True)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("not run: no CUDA device")
        return
    measure_copies(options.mib, options.turns)


def measure_copies(mib: int, turns: int) -> None:
    """Measure saves from the GPU against one copy of the same bytes to pinned memory."""
    training = states.Training(mib, stepped=False)
    training.model.cuda()
    size = training.nbytes()
    source = torch.empty(size, dtype=torch.uint8, device="cuda")
    target = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    with tempfile.TemporaryDirectory() as name:
        keeper = states.keeper(Path(name) / "run", training)
        durable: list[float] = []

        def save() -> float:
            torch.cuda.synchronize()
            began = time.perf_counter()
            keeper.save(states.meta(len(durable) + 1), states.generators())
            stall = time.perf_counter() - began
            keeper.finish()
            durable.append(time.perf_counter() - began)
            return stall

        save()
        found = measure.in_turns({"copy": lambda: to_pinned(source, target), "save": save}, turns)
    lines = [
        measure.line("copy to pinned memory", found["copy"]),
        measure.against("perdure: stall", found["save"], found["copy"], at_most=1.2),
        measure.line("perdure: durable", durable[1:]),
    ]
    measure.report("gpu_checkpoint", lines, [f"{size / 2**20:.0f} MiB on {device()}"])


def device() -> str:
    """Return the GPU's name."""
    return str(torch.cuda.get_device_name())


if __name__ == "__main__":
    main()
