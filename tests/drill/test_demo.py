"""The demonstration's words and its verdict; the whole of it is in tests/e2e."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.drill import demo
from perdure.drill.plan import Action, Interruption, Kind, RunPlan
from perdure.drill.play import play
from perdure.errors import DifferenceError, UsageError
from perdure.jobs.folder import attempts, is_alive
from perdure.model.job import JobHeading
from perdure.model.report import silent
from tests.drill.conftest import PROJECT, SRC, TRAINING, SetStage

STOP = Interruption(Kind.TERM, (Action("fetch", "term", 1, step=13),))


def job(folder: Path, name: str) -> JobHeading:
    return JobHeading(folder, name, "train", (), "")


def test_an_interrupted_training_that_ends_alike_is_called_identical(stage: SetStage) -> None:
    ready = stage(TRAINING.replace("FAULT", "pass"))
    play(ready, [RunPlan("broken", (STOP,)), RunPlan("whole")], 20.0, silent, message="")
    result = demo.judge(ready.cwd, job(ready.folder, "broken"), job(ready.folder, "whole"), 4.2)
    assert result.metric_rows == 33
    told = demo.closing(result)
    assert told[0] == f"identical: weights {result.weights[:16]}, 33 metric rows"
    assert [line for line in told if line.startswith("  ")] == told[-3:]
    assert told[-2] == "  perdure show broken"


def test_one_that_ends_otherwise_fails_loudly_and_names_what_differs(stage: SetStage) -> None:
    ready = stage(TRAINING.replace("FAULT", "pass"))
    play(ready, [RunPlan("broken")], 20.0, silent, message="")
    play(dataclasses.replace(ready, seed=4), [RunPlan("whole")], 20.0, silent, message="")
    with pytest.raises(DifferenceError, match="ended otherwise: batch differs at step 0") as caught:
        demo.judge(ready.cwd, job(ready.folder, "broken"), job(ready.folder, "whole"), 4.2)
    assert caught.value.hint == "perdure why broken whole"
    assert caught.value.exit_code == 7


def test_one_that_left_nothing_fails_loudly(stage: SetStage) -> None:
    ready = stage(TRAINING.replace("FAULT", "pass"))
    play(ready, [RunPlan("whole")], 20.0, silent, message="")
    (ready.folder / "broken").mkdir()
    with pytest.raises(DifferenceError, match="`broken` left no finished checkpoint"):
        demo.judge(ready.cwd, job(ready.folder, "broken"), job(ready.folder, "whole"), 4.2)


def test_the_table_has_both_side_by_side(stage: SetStage) -> None:
    code = TRAINING.replace("FAULT", "pass").replace("score=", "accuracy=0.5 + 0 *")
    ready = stage(code)
    play(ready, [RunPlan("broken"), RunPlan("whole")], 20.0, silent, message="")
    lines = demo.table(job(ready.folder, "broken"), job(ready.folder, "whole"))
    assert lines[0].split() == ["interrupted", "uninterrupted"]
    assert lines[2].split() == ["steps", "30", "30"]
    assert lines[3].split() == ["accuracy", "50.0%", "50.0%"]


#: Ten epochs of twenty steps, each slow enough to be met in the middle of an epoch.
SLOW = """
import random, time
import perdure

run = perdure.start()
weights = {"w": 1.0}
run.track(weights=weights)
loader = run.loader(list(range(80)), batch_size=4, shuffle=True)
for epoch in run.epochs(10):
    for batch in loader:
        weights["w"] += 0.01 * random.random() * sum(batch)
        time.sleep(0.005)
        run.log(loss=weights["w"])
    run.log(accuracy=random.random() PLANTED)
"""


@pytest.fixture
def small_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that lets the demonstration find a project that needs no installation."""

    def make(code: str) -> Path:
        root = tmp_path / "small demo"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        (root / "train.py").write_text(code)
        monkeypatch.setattr(demo, "prepare", lambda folder, tell: None)
        monkeypatch.setenv("PYTHONPATH", os.fspath(SRC))
        here = os.fspath(Path(sys.executable).parent)
        monkeypatch.setenv("PATH", os.pathsep.join((here, os.environ["PATH"])))
        return root

    return make


def test_the_course_of_the_demonstration(small_demo: Callable[[str], Path]) -> None:
    told: list[str] = []
    folder = small_demo(SLOW.replace("PLANTED", ""))
    result = demo.run_demo(folder, target="local", report=silent, tell=told.append)
    said = "\n".join(told)
    assert result.metric_rows == 210
    assert f"identical: weights {result.weights[:16]}, 210 metric rows" in told
    order = ["touched PREEMPT", "notice: file", "is durable", "exit code 75", "resumed", "SIGKILL"]
    order += ["was started by the supervisor", "left alone", "uninterrupted", "identical"]
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    assert attempts(folder / "results" / result.interrupted) == [1, 2, 3]
    assert attempts(folder / "results" / result.uninterrupted) == [1]


def test_a_demonstration_that_differs_exits_7(small_demo: Callable[[str], Path]) -> None:
    folder = small_demo(SLOW.replace("PLANTED", "+ time.time()"))
    with pytest.raises(DifferenceError, match="metric accuracy differs at step 20"):
        demo.run_demo(folder, target="local", report=silent, tell=lambda text: None)


def test_a_training_that_fails_ends_the_demonstration(small_demo: Callable[[str], Path]) -> None:
    folder = small_demo("raise SystemExit('no data')")
    with pytest.raises(DifferenceError, match="ended before it could be interrupted"):
        demo.run_demo(folder, target="local", report=silent, tell=lambda text: None)
    assert not any(is_alive(job) for job in (folder / "results").iterdir())


def test_a_target_that_is_none_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no target `moon`"):
        demo.run_demo(tmp_path / "demo", target="moon", report=silent, tell=print)
    assert not (tmp_path / "demo").exists()
