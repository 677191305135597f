"""The probe, in real processes: what it fires is written down first, and only then fired."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.runtime import names, probe

Order = dict[str, object]

# Ten steps of a pretended training; its handler counts what came. A line on stdout for each step.
TRAINING = """
import signal, sys, time
from perdure.runtime import probe
came = []
signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
probe.reach("startup", step=0)
for step in range(10):
    probe.reach("fetch", step=step)
    probe.record("batch", step, {"batch": str(step)})
    if probe.save_due(step):
        for part in ("save-begin", "save-mid-data", "save-mid-data", "save-durable"):
            probe.reach(part, step=step)
    probe.reach("boundary", step=step + 1)
    print(step, flush=True)
    time.sleep(0.001)
time.sleep(0.02 if came else 0)
probe.reach("finish", step=10)
print("came", len(came), flush=True)
"""


def train(folder: Path, orders: Order, generation: int = 1) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        names.RUN_DIR: str(folder),
        names.GENERATION: str(generation),
        names.DRILL: json.dumps(orders),
    }
    return subprocess.run(
        [sys.executable, "-c", TRAINING],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def fired(folder: Path, generation: int = 1) -> list[tuple[str, int, str]]:
    path = folder / "trace" / f"{generation:06d}.fired.jsonl"
    notes = [json.loads(line) for line in path.read_text().splitlines()]
    return [(note["point"], note["step"], note["what"]) for note in notes]


@pytest.fixture(autouse=True)
def _no_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(names.DRILL, raising=False)
    probe.forget()


def test_without_a_drill_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    probe.reach("startup", step=0)
    probe.record("batch", 0, {"batch": "x"})
    assert not probe.tracing()
    assert not probe.dropped("model")
    assert not probe.save_due(0)
    assert list(tmp_path.iterdir()) == []


def test_an_import_brings_in_the_standard_library_only() -> None:
    code = (
        "import sys, perdure.runtime.probe; print('xxhash' in sys.modules, 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.split() == ["False", "False"]


def test_a_kill_lands_at_its_step_and_is_written_down(tmp_path: Path) -> None:
    ended = train(tmp_path, {"actions": [{"point": "fetch", "step": 4, "do": "kill"}]})
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == ["0", "1", "2", "3"]
    assert fired(tmp_path) == [("fetch", 4, "kill")]


def test_a_term_reaches_the_handler_once(tmp_path: Path) -> None:
    ended = train(tmp_path, {"actions": [{"point": "boundary", "step": 3, "do": "term"}]})
    assert ended.stdout.splitlines()[-1] == "came 1"
    assert fired(tmp_path) == [("boundary", 3, "term")]


def test_a_step_that_is_skipped_over_fires_at_the_next_one(tmp_path: Path) -> None:
    orders: Order = {"save_every": 4, "actions": [{"point": "save-begin", "step": 5, "do": "kill"}]}
    assert train(tmp_path, orders).returncode == -signal.SIGKILL
    assert fired(tmp_path) == [("save-begin", 8, "kill")]


def test_the_nth_time_is_counted_from_the_step_on(tmp_path: Path) -> None:
    action: Order = {"point": "save-mid-data", "step": 1, "nth": 3, "do": "kill"}
    assert train(tmp_path, {"save_every": 2, "actions": [action]}).returncode == -signal.SIGKILL
    assert fired(tmp_path) == [("save-mid-data", 4, "kill")]


def test_the_file_is_touched(tmp_path: Path) -> None:
    assert train(tmp_path, {"actions": [{"point": "fetch", "do": "file"}]}).returncode == 0
    assert (tmp_path / "PREEMPT").read_bytes() == b""
    assert fired(tmp_path) == [("fetch", 0, "file")]


def test_a_second_signal_follows_at_once(tmp_path: Path) -> None:
    ended = train(tmp_path, {"actions": [{"point": "fetch", "step": 2, "do": "term-kill"}]})
    assert ended.returncode == -signal.SIGKILL
    assert [what for _, _, what in fired(tmp_path)] == ["term", "kill"]


def test_a_delay_lands_in_the_middle_of_what_follows(tmp_path: Path) -> None:
    action: Order = {"point": "fetch", "step": 2, "do": "kill", "delay_s": 0.004}
    assert train(tmp_path, {"actions": [action]}).returncode == -signal.SIGKILL
    ((point, step, what),) = fired(tmp_path)
    assert (point, what) == ("fetch", "kill")
    assert step >= 2


def test_an_action_waits_for_those_before_it(tmp_path: Path) -> None:
    actions: list[Order] = [
        {"point": "fetch", "step": 5, "do": "term"},
        {"point": "save-mid-data", "do": "kill", "after": True},
    ]
    assert train(tmp_path, {"save_every": 2, "actions": actions}).returncode == -signal.SIGKILL
    assert fired(tmp_path) == [("fetch", 5, "term"), ("save-mid-data", 6, "kill")]


def test_a_point_does_not_count_before_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: Order = {"point": "fetch", "do": "file"}
    second: Order = {"point": "save-meta", "do": "file", "after": True}
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    monkeypatch.setenv(names.GENERATION, "1")
    monkeypatch.setenv(names.DRILL, json.dumps({"actions": [first, second]}))
    for point in ("save-meta", "fetch", "save-meta"):
        probe.reach(point, step=1)
    assert fired(tmp_path) == [("fetch", 1, "file"), ("save-meta", 1, "file")]


def test_an_action_is_for_one_generation(tmp_path: Path) -> None:
    orders: Order = {"actions": [{"point": "fetch", "step": 1, "generation": 2, "do": "kill"}]}
    assert train(tmp_path, orders, generation=1).returncode == 0
    assert train(tmp_path, orders, generation=2).returncode == -signal.SIGKILL
    assert fired(tmp_path, 2) == [("fetch", 1, "kill")]


def test_a_trace_has_a_line_for_each_record_and_the_points_at_the_end(tmp_path: Path) -> None:
    train(tmp_path, {"trace": True, "save_every": 5}, generation=7)
    rows = (tmp_path / "trace" / "000007.jsonl").read_text().splitlines()
    assert [json.loads(row) for row in rows][3] == {
        "kind": "batch",
        "step": 3,
        "digests": {"batch": "3"},
    }
    assert len(rows) == 10
    points = json.loads((tmp_path / "trace" / "000007.points.jsonl").read_text())
    assert points["fetch"] == list(range(10))
    assert points["save-mid-data"] == [0, 0, 5, 5]
    assert points["finish"] == [10]


def test_a_killed_training_leaves_whole_lines(tmp_path: Path) -> None:
    train(tmp_path, {"trace": True, "actions": [{"point": "fetch", "step": 6, "do": "kill"}]})
    rows = (tmp_path / "trace" / "000001.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [0, 1, 2, 3, 4, 5]


def test_only_the_first_of_several_ranks_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: Order = {"trace": True, "actions": [{"point": "fetch", "do": "kill"}]}
    monkeypatch.setenv("RANK", "1")
    assert train(tmp_path, orders).returncode == 0
    assert not (tmp_path / "trace").exists()
    monkeypatch.setenv("RANK", "0")
    assert train(tmp_path, orders).returncode == -signal.SIGKILL


def test_what_the_self_test_leaves_out_is_told_in_every_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    monkeypatch.setenv(names.DRILL, json.dumps({"drop": ["optimizer", "rng.torch"]}))
    monkeypatch.setenv("RANK", "3")
    assert probe.dropped("optimizer")
    assert probe.dropped("rng.torch")
    assert not probe.dropped("model")


def test_an_unknown_action_is_an_error_not_a_drill_that_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.RUN_DIR, str(tmp_path))
    monkeypatch.setenv(names.DRILL, json.dumps({"actions": [{"point": "x", "do": "melt"}]}))
    with pytest.raises(ValueError, match="unknown action 'melt'"):
        probe.reach("x", step=0)
