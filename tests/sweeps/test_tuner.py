"""Optuna by ask and tell, for real; without it installed, the one line that says so."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed, UsageError
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.sweep import Search
from perdure.sweeps import asked
from perdure.sweeps.record import JOURNAL_FILE, Sweep, names_of
from perdure.sweeps.tuner import Tuner
from tests.sweeps.conftest import kill_driver
from tests.sweeps.sweeping import driven, over, swept

AXES = {"lr": "1e-5..1e-1:log", "n": "1..8:lin", "kind": '"a,b",c'}
needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="needs the extra `optuna`"
)
#: Logs a loss that is least at x = 2, a step at a time.
TRAIN = """\
import json, os, sys, time
folder = os.path.join(os.environ["PERDURE_RUN_DIR"], "metrics")
os.makedirs(folder, exist_ok=True)
x = float(sys.argv[-1].split("=")[-1])
with open(os.path.join(folder, os.environ["PERDURE_ATTEMPT"].zfill(6) + ".jsonl"), "w") as file:
    print(json.dumps({"perdure": 1, "chain": []}), file=file, flush=True)
    for step in range(int(sys.argv[1])):
        print(json.dumps({"step": step, "loss": (x - 2) ** 2}), file=file, flush=True)
        time.sleep(float(sys.argv[2]))
"""


def sweep(**more: object) -> Sweep:
    search = Search(kind="optuna", trials=20, metric="loss", **more)  # type: ignore[arg-type]
    return Sweep("tuned", "train", (AXES,), search, 1, "")


def ran(folder: Path, loss: float) -> Path:
    metrics = folder / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    rows = [{"perdure": 1, "chain": []}, {"step": 1, "loss": loss}]
    (metrics / "000001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@needs_optuna
def test_values_are_of_their_axes_and_stay_what_they_are(tmp_path: Path) -> None:
    tuner = Tuner(tmp_path, sweep())
    first = tuner.values(1)
    assert first is not None
    assert list(first) == list(AXES)
    assert 1e-5 <= float(first["lr"]) <= 1e-1
    assert 1 <= int(first["n"]) <= 8
    assert first["kind"] in ("a,b", "c")
    assert tuner.values(1) == first
    # A driver that comes after one that was killed finds the same, and asks on.
    again = Tuner(tmp_path, sweep())
    assert again.values(1) == first
    assert again.values(2) != first


@needs_optuna
def test_what_was_proposed_and_not_noted_is_noted_by_the_next(tmp_path: Path) -> None:
    first = Tuner(tmp_path, sweep()).values(1)
    (tmp_path / "asked.jsonl").unlink()
    assert Tuner(tmp_path, sweep()).values(1) == first
    assert asked.read(tmp_path) == {1: first}


@needs_optuna
def test_what_trials_came_to_is_told_once(tmp_path: Path) -> None:
    tuner = Tuner(tmp_path, sweep())
    for trial, (loss, state) in enumerate(
        [(0.5, "SUCCEEDED"), (0.1, "FAILED"), (0.3, "CANCELLED")], start=1
    ):
        tuner.values(trial)
        tuner.told(trial, ran(tmp_path / str(trial), loss), state)
    states = [trial.state.name for trial in tuner._study.trials]
    assert states == ["COMPLETE", "FAIL", "PRUNED"]
    assert tuner._study.best_value == 0.5
    Tuner(tmp_path, sweep()).told(1, ran(tmp_path / "1", 0.0), "SUCCEEDED")
    assert Tuner(tmp_path, sweep())._study.best_value == 0.5


@needs_optuna
def test_optunas_own_programs_read_the_journal(tmp_path: Path) -> None:
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    tuner = Tuner(tmp_path, sweep())
    for trial in (1, 2, 3):
        tuner.values(trial)
        tuner.told(trial, ran(tmp_path / str(trial), float(trial)), "SUCCEEDED")
    storage = JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL_FILE)))
    study = load_study(study_name=tmp_path.name, storage=storage)
    assert study.trials == tuner._study.trials
    assert study.best_value == 1.0


@needs_optuna
@pytest.mark.parametrize("torn", [b'{"op_code": 5, "trial', b"\0\0\0", b'"a word"\n', b"{}x\n"])
def test_a_line_that_a_crash_has_torn_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    first = Tuner(tmp_path, sweep()).values(1)
    journal = tmp_path / JOURNAL_FILE
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    tuner = Tuner(tmp_path, sweep())
    assert tuner.values(1) == first
    assert journal.read_bytes().startswith(whole)
    assert torn not in journal.read_bytes()
    tuner.told(1, ran(tmp_path / "1", 0.5), "SUCCEEDED")
    assert Tuner(tmp_path, sweep())._study.best_value == 0.5


@needs_optuna
def test_what_a_disk_refused_is_asked_for_once(tmp_path: Path) -> None:
    tuner = Tuner(tmp_path, sweep())
    (tmp_path / "asked.jsonl").mkdir()
    for _ in range(3):
        with pytest.raises(OSError, match=r"asked\.jsonl"):
            tuner.values(1)
    (tmp_path / "asked.jsonl").rmdir()
    first = tuner.values(1)
    assert first is not None
    assert asked.read(tmp_path) == {1: first}
    assert len(Tuner(tmp_path, sweep())._study.trials) == 1


@needs_optuna
@pytest.mark.parametrize(
    ("sampler", "needs"),
    [
        ("tpe", ()),
        ("random", ()),
        ("nsgaii", ()),
        ("cmaes", ("cmaes",)),
        ("gp", ("torch", "scipy")),
        ("qmc", ("scipy",)),
    ],
)
def test_samplers_go_by_their_names(tmp_path: Path, sampler: str, needs: tuple[str, ...]) -> None:
    for package in needs:
        pytest.importorskip(package)
    # Before that both draw at random.
    options = {"n_startup_trials": 2} if sampler in ("cmaes", "gp") else {}
    tuner = Tuner(tmp_path, sweep(sampler=sampler, options=options))
    for trial in range(1, 6):
        tuner.values(trial)
        tuner.told(trial, ran(tmp_path / str(trial), float(trial)), "SUCCEEDED")
    assert tuner._study.best_value == 1.0


@needs_optuna
@pytest.mark.parametrize(
    ("sampler", "package"), [("cmaes", "cmaes"), ("gp", "torch"), ("gp", "scipy"), ("qmc", "scipy")]
)
def test_what_a_sampler_needs_is_asked_for_before_anything_is_stored(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, sampler: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    search = Search(kind="optuna", trials=2, metric="loss", sampler=sampler)
    with pytest.raises(EnvironmentFailed, match=f"`{sampler}` needs the package `{package}`") as no:
        swept(workspace, "x=-10.0..10.0", search=search)
    assert package in (no.value.hint or "")
    assert names_of(workspace.project) == []
    with pytest.raises(EnvironmentFailed, match=package):
        Tuner(workspace.project.root, sweep(sampler=sampler))


@needs_optuna
@pytest.mark.parametrize("options", [{"nonsense": 1}, {"n_startup_trials": "20"}])
def test_options_that_a_sampler_does_not_take_are_refused(
    workspace: Workspace, options: dict[str, object]
) -> None:
    search = Search(kind="optuna", trials=2, metric="loss", options=options)
    with pytest.raises(UsageError, match="the sampler `tpe`"):
        swept(workspace, "x=-10.0..10.0", search=search)
    assert names_of(workspace.project) == []


@needs_optuna
def test_a_search_finds_the_better_values_and_outlives_its_driver(workspace: Workspace) -> None:
    (workspace.project.root / "train.py").write_text(TRAIN)
    search = Search(kind="optuna", trials=12, metric="loss", options={"n_startup_trials": 4})
    folder = driven(workspace, "x=-10.0..10.0", arguments=("2", "0"), search=search, max_running=1)
    kill_driver(folder)
    from perdure.sweeps.control import drive

    drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 12}
    values = asked.read(folder)
    assert [dict(trial.values) for trial in found.trials] == [values[n] for n in range(1, 13)]
    study = Tuner(folder, found.sweep)._study
    assert len(study.trials) == 12
    assert all(trial.state.is_finished() for trial in study.trials)


@needs_optuna
def test_a_trial_that_is_hopeless_is_ended(workspace: Workspace) -> None:
    (workspace.project.root / "train.py").write_text(TRAIN)
    search = Search(
        kind="optuna", trials=9, metric="loss", pruner="percentile", sampler="random", seed=3
    )
    folder = driven(
        workspace, "x=-10.0..10.0", arguments=("30", "0.05"), search=search, max_running=1
    )
    found = over(workspace, folder)
    assert found.over
    # The first five are never given up; of the others only the best quarter runs to its end.
    assert found.states[State.SUCCEEDED] >= 5
    assert found.states[State.CANCELLED] >= 1
    states = {trial.state.name for trial in Tuner(folder, found.sweep)._study.trials}
    assert states == {"COMPLETE", "PRUNED"}


def test_without_optuna_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(EnvironmentFailed, match="needs Optuna"):
        Tuner(tmp_path, sweep())
