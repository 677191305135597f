"""Runs played to their end in real processes, by the zygote and command by command."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from perdure.drill import evidence
from perdure.drill.plan import Action, Interruption, Kind, RunPlan
from perdure.drill.play import lanes, play, thread_settings
from perdure.errors import DifferenceError
from perdure.model.report import silent
from tests.drill.conftest import TRAINING, SetStage

GOOD = TRAINING.replace("FAULT", "pass")


def stopped(kind: Kind, *actions: Action, name: str = "run") -> RunPlan:
    return RunPlan(name, (Interruption(kind, actions),), save_every=4)


@pytest.mark.parametrize(("do", "codes"), [("term", [75, 0]), ("kill", [-9, 0]), ("file", [75, 0])])
def test_an_interrupted_run_is_taken_up_again(stage: SetStage, do: str, codes: list[int]) -> None:
    ready = stage(GOOD)
    plan = stopped(Kind.TERM, Action("fetch", do, 1, step=13))
    ends = play(ready, [plan], 20.0, silent, message="")["run"]
    assert [end.code for end in ends] == codes
    assert [end.attempt for end in ends] == [1, 2]
    (fired,) = evidence.read_fired(ready.folder / "run")
    assert (fired.point, fired.what, fired.generation) == ("fetch", do, 1)


def test_a_command_that_is_no_python_gets_processes_of_its_own(stage: SetStage) -> None:
    ready = stage(GOOD)
    argv = ("/bin/sh", "-c", f'exec "{ready.python}" train.py')
    ready = dataclasses.replace(ready, argv=argv)
    plan = stopped(Kind.KILL, Action("fetch", "kill", 1, step=5))
    ends = play(ready, [plan], 20.0, silent, message="")["run"]
    assert [end.code for end in ends] == [-9, 0]
    assert evidence.read_evidence(ready.folder / "run") is not None


def test_a_module_is_found_where_python_would_find_it(stage: SetStage) -> None:
    ready = dataclasses.replace(stage(GOOD), argv=("python", "-m", "train"))
    plan = stopped(Kind.KILL, Action("fetch", "kill", 1, step=5))
    ends = play(ready, [plan], 20.0, silent, message="")["run"]
    assert [end.code for end in ends] == [-9, 0]


def test_a_run_that_fails_by_itself_is_not_tried_again(stage: SetStage) -> None:
    ready = stage("raise RuntimeError('no data')")
    ends = play(ready, [stopped(Kind.TERM)], 20.0, silent, message="")["run"]
    assert [end.code for end in ends] == [1]
    log = (ready.folder / "run" / "logs" / "000001.log").read_text()
    assert log.splitlines()[-1] == "RuntimeError: no data"


def test_an_attempt_that_hangs_is_killed_and_told(stage: SetStage) -> None:
    ready = stage("import time\ntime.sleep(600)")
    ends = play(ready, [stopped(Kind.TERM)], 0.3, silent, message="")["run"]
    assert [(end.code, end.hung) for end in ends] == [(-9, True)]


def test_an_exit_code_and_its_words_are_the_trainings_own(stage: SetStage) -> None:
    ready = stage("import sys\nsys.exit('the data set is empty')")
    ends = play(ready, [stopped(Kind.TERM)], 20.0, silent, message="")["run"]
    assert [end.code for end in ends] == [1]
    log = (ready.folder / "run" / "logs" / "000001.log").read_text()
    assert log == "the data set is empty\n"


def test_exit_handlers_run_and_arguments_arrive(stage: SetStage) -> None:
    code = "import atexit, sys\natexit.register(print, 'bye')\nprint(sys.argv[1:], __name__)"
    ready = stage(code)
    ready = dataclasses.replace(ready, argv=(*ready.argv, "$(x)", "a b"))
    play(ready, [stopped(Kind.TERM)], 20.0, silent, message="")
    log = (ready.folder / "run" / "logs" / "000001.log").read_text()
    assert log == "['$(x)', 'a b'] __main__\nbye\n"


def test_runs_do_not_see_each_other(stage: SetStage) -> None:
    ready = stage("import os\nprint(os.environ['PERDURE_JOB'])\nos.environ['PERDURE_JOB'] = 'x'")
    plans = [stopped(Kind.TERM, name=f"run-{number}") for number in range(4)]
    told: list[tuple[int | None, int | None]] = []

    def tell(message: str, *, done: int | None = None, total: int | None = None) -> None:
        told.append((done, total))

    ends = play(ready, plans, 20.0, tell, message="")
    for name in ends:
        assert (ready.folder / name / "logs" / "000001.log").read_text() == f"{name}\n"
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_python_without_perdure_is_told(stage: SetStage, tmp_path: Path) -> None:
    ready = stage(GOOD)
    bare = tmp_path / "bin" / "python"
    bare.parent.mkdir()
    bare.write_text("#!/bin/sh\necho 'No module named perdure' >&2\nexit 1\n")
    bare.chmod(0o755)
    ready = dataclasses.replace(ready, python=str(bare))
    with pytest.raises(DifferenceError, match="exit code 1") as caught:
        play(ready, [stopped(Kind.TERM)], 20.0, silent, message="")
    assert caught.value.hint == "No module named perdure"


def test_the_cores_are_shared_out() -> None:
    assert lanes(1) == 1
    assert lanes(16) == 2
    assert thread_settings(2, 16)["OMP_NUM_THREADS"] == "8"
    assert thread_settings(2, 1)["MKL_NUM_THREADS"] == "1"
