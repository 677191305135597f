"""A drill and the demonstration whose trainings run in containers of a small image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.drill import demo
from perdure.drill.report import lines
from perdure.drill.session import DrillOptions, run_drill
from perdure.errors import DifferenceError
from perdure.jobs.folder import attempts
from perdure.jobs.workspace import open_workspace
from perdure.model.report import silent
from tests.drill.conftest import PROJECT, TRAINING
from tests.drill.test_demo import SLOW
from tests.engines.engines import RealEngine
from tests.jobs.contained import Yard, make_yard, runtime_files
from tests.waiting import until


@pytest.fixture
def yard(tmp_path: Path, engine: RealEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    made = make_yard(tmp_path / "it's $(small)", engine, monkeypatch)
    root = made.workspace.project.root
    (root / "pyproject.toml").write_text(PROJECT)
    for name, file in runtime_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / name)
    yield made
    made.clear()


def test_a_drill_in_containers(yard: Yard) -> None:
    root = yard.workspace.project.root
    (root / "train.py").write_text(TRAINING.replace("FAULT", "pass"))
    options = DrillOptions("train", runs=3, seed=5, target="docker", self_test=True)
    found = run_drill(open_workspace(root), options, silent)
    assert found.passed, "\n".join(lines(found))
    assert sum(run.coverage.interruptions for run in found.runs) >= 3
    assert any(run.supervised for run in found.runs)
    assert list((root / ".perdure" / "drills").iterdir()) == []
    until(lambda: yard.containers() == [])


def test_a_drill_in_containers_finds_what_is_lost(yard: Yard) -> None:
    root = yard.workspace.project.root
    fault = "lost += 1; weights['w'] += 0.001 * lost"
    (root / "train.py").write_text(TRAINING.replace("FAULT", fault))
    options = DrillOptions("train", runs=1, kinds=("term",), target="docker")
    assert not run_drill(open_workspace(root), options, silent).passed


def test_a_training_that_fails_in_a_container_says_why(yard: Yard) -> None:
    root = yard.workspace.project.root
    (root / "train.py").write_text("raise SystemExit('no data')")
    with pytest.raises(DifferenceError, match="fails when nobody interrupts it") as caught:
        run_drill(open_workspace(root), DrillOptions("train", target="docker"), silent)
    assert caught.value.hint == "no data"
    until(lambda: yard.containers() == [])


def test_the_demonstration_in_containers(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = yard.workspace.project.root
    (root / "train.py").write_text(SLOW.replace("PLANTED", ""))
    monkeypatch.setattr(demo, "prepare", lambda folder, tell: None)
    told: list[str] = []
    result = demo.run_demo(root, target="docker", report=silent, tell=told.append)
    assert f"identical: weights {result.weights[:16]}, 210 metric rows" in told
    assert any(line.startswith("killed the training with SIGKILL") for line in told)
    broken = root / "results" / result.interrupted
    assert attempts(broken) == [1, 2, 3]
    if os.getuid() == 0:
        assert {path.stat().st_uid for path in broken.rglob("*")} == {1000}
