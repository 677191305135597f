"""The training that is traced, killed and stormed here: its state has an invariant of its own.

Run as a program: training.py FOLDER STEPS FAULT. Every value of `left` and `right` is the number of
steps done; a snapshot in which they differ is torn. FAULT plants a broken protocol.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import perdure
from perdure.runtime import disk, generation, names
from perdure.runtime.run import Run

VALUES = 1500
FAULTS = ("none", "no-fsync", "no-folder-fsync", "late-data")

State = dict[str, "np.ndarray | int"]


def fresh() -> State:
    """Return the state before the first step."""
    return {"step": 0, "left": np.zeros(VALUES), "right": np.zeros(VALUES)}


def whole(state: State) -> bool:
    """Say whether the invariant holds."""
    expected = np.full(VALUES, float(state["step"]))
    return bool(np.array_equal(state["left"], expected)) and bool(
        np.array_equal(state["right"], expected)
    )


def advance(state: State) -> None:
    """Do a step: the invariant does not hold in the middle of it."""
    state["left"] += 1
    state["step"] += 1
    state["right"] += 1


def train(run: Run, steps: int, after: Callable[[Run], None]) -> State:
    """Return the state after `steps` steps; each logs a row."""
    state = fresh()
    run.track(state=state)
    for step in run.steps(steps):
        if not whole(state) or state["step"] != step:
            raise RuntimeError(f"torn: step {step} begins with {state}")
        advance(state)
        run.log(value=step)
        after(run)
    return state


def wait_for_save(run: Run) -> None:
    """Wait for the save under way, so that the next boundary saves too."""
    while run._attempt.keeper.busy():
        time.sleep(0.001)


def plant(fault: str) -> None:
    """Break the protocol: a test that cannot find this proves nothing."""
    if fault == "no-fsync":
        disk.os.fsync = lambda fd: None  # type: ignore[attr-defined]
    elif fault == "no-folder-fsync":
        generation.sync_folder = lambda path: None
    elif fault == "late-data":
        real = os.fsync

        def only_small(fd: int) -> None:
            found = os.fstat(fd)
            if found.st_size < 8 * VALUES or stat.S_ISDIR(found.st_mode):
                real(fd)

        disk.os.fsync = only_small  # type: ignore[attr-defined]


def main() -> None:
    folder, steps, fault = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    plant(fault)
    disk._DIRECT_FROM_BYTES = 0  # a small state takes the way of a large one
    (Path(folder) / names.ATTEMPTS).mkdir(parents=True, exist_ok=True)
    # What a supervisor would say; without its socket the events go to a file, and into the trace.
    mine = generation.claim(folder)
    os.environ[names.RUN_DIR] = folder
    os.environ[names.GENERATION] = os.environ[names.ATTEMPT] = str(mine)
    train(perdure.start(seed=1, keep=2, save_every=1e-9), steps, wait_for_save)


if __name__ == "__main__":
    main()
