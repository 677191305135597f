"""Print by how much saving at the tuned interval slows a training down.

The same training in the same process, in turns: blocks of steps without a save, and blocks with
one. A save costs its stall and what its writer takes from the training meanwhile, so a block with
a save is timed to the end of its write. That cost is spread over the interval that the run chooses.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks import measure, states
from perdure.runtime.interval import best, rate


def steps(training: states.Training, batch: torch.Tensor, count: int) -> float:
    """Return the seconds that some steps of the training take."""
    began = time.perf_counter()
    for _ in range(count):
        training.optimizer.zero_grad(set_to_none=True)
        training.model(batch).square().mean().backward()
        training.optimizer.step()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=96)
    parser.add_argument("--turns", type=int, default=12)
    options = parser.parse_args()
    finish(*measure_saves(options.mib, options.turns))


def measure_saves(mib: int, turns: int) -> tuple[dict[str, list[float]], list[float], list[float]]:
    """Return the seconds of blocks of steps with and without a save, the stalls and the writes."""
    training = states.Training(mib)
    batch = torch.randn(64, states.WIDTH)
    with tempfile.TemporaryDirectory() as name:
        keeper = states.keeper(Path(name) / "run", training)
        keeper.prepare(states.generators())
        one = min(steps(training, batch, 5) for _ in range(3)) / 5
        numbers = itertools.count(1)
        count = max(5, round(1.0 / one))  # a block of about a second: longer than a write
        stalls: list[float] = []
        writes: list[float] = []

        def saving() -> float:
            began = time.perf_counter()
            keeper.save(states.meta(next(numbers)), states.generators())
            stalls.append(time.perf_counter() - began)
            steps(training, batch, count)
            keeper.finish()
            seconds = time.perf_counter() - began
            writes.append(keeper.interval.write_s)
            return seconds

        saving()
        stalls.clear()
        writes.clear()
        found = measure.in_turns(
            {"plain": lambda: steps(training, batch, count), "saving": saving}, turns
        )
    return found, stalls, writes


def finish(found: dict[str, list[float]], stalls: list[float], writes: list[float]) -> None:
    """Report what a save costs, spread over the interval that the run would choose."""
    plain, saving = (measure.line(name, found[name]) for name in ("plain", "saving"))
    stall = measure.line("stall of a save", stalls)
    write = measure.line("a write behind the training", writes)
    every_s = best(stall.median_s, write.median_s, rate(0.0, 0.0))
    # The worse of two estimates: on a busy machine neither alone can be trusted.
    cost_s = max(0.0, saving.median_s - plain.median_s, saving.best_s - plain.best_s)
    overhead = measure.Line(
        "training with the tuned interval, to without",
        every_s + cost_s,
        every_s + cost_s,
        (every_s + cost_s) / every_s,
        at_most=1.01,
    )
    notes = [
        f"interval chosen: {every_s:.0f} s",
        f"a save costs {cost_s * 1e3:.0f} ms of training, {stall.median_s * 1e3:.0f} ms stall",
    ]
    measure.report("overhead", [plain, saving, stall, write, overhead], notes)


if __name__ == "__main__":
    main()
