"""Real processes that train: started, signalled and awaited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.runtime import names
from perdure.runtime.store import Loaded, Store
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0

#: Trains as training.py does; says each boundary on stdout, and waits for a line where it is told.
SCRIPT = """
import os, sys
import perdure
from perdure.runtime import disk
from tests.crash import training
folder, steps, every, wait_at = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
if os.environ.get("SMALL_PARTS"):
    disk._DIRECT_FROM_BYTES = 1 << 60
def after(run):
    if run.step == wait_at:
        print("waiting", flush=True)
        sys.stdin.readline()
    if every < 1:
        training.wait_for_save(run)
state = training.train(perdure.start(seed=1, folder=folder, keep=2, save_every=every), steps, after)
print("done", state["step"], flush=True)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a training left: its exit code and what it said."""

    code: int
    out: str
    err: str


def begin(
    folder: Path,
    steps: int,
    *,
    every: float = 1e-9,
    wait_at: int = -1,
    extra: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start the training in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(steps), str(every), str(wait_at)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", **(extra or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], say: str | None = None) -> Ended:
    """Wait for the training to end, and return what it left."""
    out, err = process.communicate(say, timeout=LIMIT_S)
    return Ended(process.returncode, out, err)


def train(folder: Path, steps: int, **options: float | Mapping[str, str]) -> Ended:
    """Return what came of a training that nothing waits for."""
    return end(begin(folder, steps, **options))  # type: ignore[arg-type]


def await_line(process: subprocess.Popen[str], expected: str) -> None:
    """Return when the training has said this."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if line.strip() != expected:
        process.kill()
        raise AssertionError(f"{line!r} instead of {expected!r}: {process.communicate()}")


def await_checkpoint(folder: Path) -> None:
    """Return when a run has a checkpoint."""
    root = folder / names.CHECKPOINTS
    until(lambda: root.is_dir() and any(root.glob("g*")), every_s=0.005)


def latest(folder: Path) -> Loaded:
    """Return the newest checkpoint, which must verify without a fallback."""
    said: list[str] = []
    loaded = Store(str(folder), 0).latest(said.append)
    assert said == []
    assert loaded is not None
    return loaded


def arrays(loaded: Loaded) -> list[set[float]]:
    """Return the values of each float array of a checkpoint of training.py."""
    import numpy as np

    tree = json.dumps(loaded.meta["tree"])
    found = []
    for side in ("left", "right"):
        name = f"items/state/{side}"
        assert side in tree
        region = loaded.fetch(name)
        data = np.frombuffer(region.memory, np.float64, region.nbytes // 8, region.offset)
        found.append({float(value) for value in data})
    return found
