"""No signal, whenever it comes, tears a snapshot or loses a step that was done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perdure.runtime import metrics, names, probe
from tests.crash import programs

SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
STORM = 300
STEPS = 10_000_000


def whole(folder: Path) -> int:
    """Return the step of the newest checkpoint, whose arrays all agree with it."""
    loaded = programs.latest(folder)
    step = int(str(loaded.meta["step"]))
    assert programs.arrays(loaded) == [{float(step)}, {float(step)}]
    rows = [row["value"] for row in metrics.read_rows(str(folder))]
    assert rows[:step] == [*range(step)]
    return step


def test_a_storm_of_signals_never_tears_a_snapshot(tmp_path: Path) -> None:
    """300 signals at random times, in bursts: each attempt ends with 75, each goes further."""
    chance = random.Random(1)
    folder = tmp_path / "run"
    sent, before, attempts = 0, -1, 0
    while sent < STORM:
        process = programs.begin(folder, STEPS, every=0.003, wait_at=max(before, 0) + 1)
        programs.await_line(process, "waiting")
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(chance.random() * 0.05)
        # SIGINT comes first or not at all: after a notice it is a person's wish to stop at once.
        burst = [SIGNALS[attempts % 3], *(chance.choice(SIGNALS[:2]) for _ in range(29))]
        for number in burst:
            if process.poll() is None:
                os.kill(process.pid, number)
            sent += 1
            if chance.random() < 0.2:
                time.sleep(chance.random() * 0.002)
        ended = programs.end(process)
        assert ended.code == names.EXIT_INTERRUPTED, ended.err
        step = whole(folder)
        assert step > before
        before, attempts = step, attempts + 1


@pytest.mark.parametrize("seed", range(5))
def test_a_kill_at_any_time_leaves_whole_snapshots(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    folder = tmp_path / "run"
    process = programs.begin(folder, STEPS, every=0.001, wait_at=1)
    programs.await_line(process, "waiting")
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    programs.await_checkpoint(folder)
    time.sleep(chance.random() * 0.05)
    process.kill()
    assert programs.end(process).code == -signal.SIGKILL
    before = whole(folder)
    ended = programs.train(folder, before + 3)
    assert ended.code == 0, ended.err
    assert whole(folder) == before + 3


def test_the_first_signal_may_come_before_the_first_step(tmp_path: Path) -> None:
    process = programs.begin(tmp_path / "run", 50, wait_at=1)
    programs.await_line(process, "waiting")
    process.send_signal(signal.SIGTERM)
    ended = programs.end(process, "\n")
    assert ended.code == names.EXIT_INTERRUPTED
    assert "step 2 is durable" in ended.err or "step 1 is durable" in ended.err


LATE = """
import os, signal, sys
class Late:
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGUSR2):
        kill(me, number)
late = Late()
import perdure
run = perdure.start(seed=1, folder=sys.argv[1])
for step in run.steps(9):
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_while_python_shuts_down(tmp_path: Path) -> None:
    """What is durable is told by 75, whatever signal comes after it."""
    environment = {**os.environ, "PYTHONPATH": str(programs.ROOT / "src")}
    argv = [sys.executable, "-c", LATE, str(tmp_path / "run")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert "is durable" in done.stderr
    assert done.returncode == names.EXIT_INTERRUPTED


def test_the_drill_is_off() -> None:
    """What is tested here is the library as users run it."""
    assert not probe.tracing()
