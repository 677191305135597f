"""The demonstration's words and its verdict; the whole of it is in tests/e2e."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from perdure.drill import demo
from perdure.drill.plan import Action, Interruption, Kind, RunPlan
from perdure.drill.play import play
from perdure.errors import DifferenceError, UsageError
from perdure.model.job import JobHeading
from perdure.model.report import silent
from tests.drill.conftest import TRAINING, SetStage

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


def test_it_runs_here_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not on `moon`"):
        demo.run_demo(tmp_path / "demo", target="moon", report=silent, tell=print)
    assert not (tmp_path / "demo").exists()
