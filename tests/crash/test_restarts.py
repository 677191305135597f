"""Every restart makes progress or backs off: a real supervisor over a training that dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.programs import ROOT, SCRIPT, latest

SUPERVISOR = ROOT / "src" / "perdure" / "runtime" / "supervisor" / "__main__.py"

#: Dies by SIGKILL in each attempt: after some steps of its own, or before it has done any.
DYING = SCRIPT.replace(
    "state = training", "mine = []\nstate = training"
).replace(
    "    if run.step == wait_at:",
    "    mine.append(1)\n"
    "    training.wait_for_save(run)\n"
    "    if len(mine) == 3 and run.step < steps - 1: os.kill(os.getpid(), 9)\n"
    "    if run.step == wait_at:",
)  # fmt: skip
BARREN = "import os; os.kill(os.getpid(), 9)"


def supervise(run_dir: Path, *program: str) -> list[dict[str, object]]:
    """Return the events of all attempts of a job under the supervisor."""
    run_dir.mkdir()
    options = ("--run-dir", str(run_dir), "--backoff-s", "0.02", "--retries", "1")
    argv = [sys.executable, "-I", "-S", str(SUPERVISOR), *options, "--", sys.executable, *program]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    subprocess.run(argv, env=environment, capture_output=True, timeout=100)
    lines = [
        line
        for path in sorted((run_dir / "attempts").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [json.loads(line) for line in lines]


def named(events: list[dict[str, object]], name: str) -> list[dict[str, object]]:
    return [event for event in events if event["event"] == name]


def test_a_training_that_is_killed_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = supervise(folder, "-c", DYING, str(folder), "12", "1e-9", "-1")
    begun = [int(str(event["step"])) for event in named(events, "restored")]
    assert len(begun) >= 3
    assert begun == sorted(set(begun)), "an attempt began where the one before had begun"
    assert named(events, "ended")[-1]["state"] == "SUCCEEDED"
    assert latest(folder).meta["step"] == 12


@pytest.mark.parametrize("program", [("-c", BARREN)])
def test_one_that_never_gets_anywhere_backs_off_longer_each_time(
    tmp_path: Path, program: tuple[str, ...]
) -> None:
    events = supervise(tmp_path / "run", *program)
    waits = [float(str(event["seconds"])) for event in named(events, "waiting")]
    assert len(waits) >= 5
    assert waits == sorted(waits)
    assert waits[-1] > 10 * waits[0]
    assert named(events, "ended")[-1]["state"] == "FAILED"
