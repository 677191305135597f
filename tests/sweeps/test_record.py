from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.errors import ConflictError, NewerFormatError, PerdureError, UsageError
from perdure.jobs import folder as folders
from perdure.jobs.workspace import Workspace
from perdure.model.sweep import Search
from perdure.runtime import names
from perdure.sweeps import notation
from perdure.sweeps.control import extend, retry
from perdure.sweeps.record import edit, find_sweep, names_of, read_sweep, wanting, write_sweep
from perdure.sweeps.trials import Maker
from tests.sweeps.sweeping import swept


def test_a_sweep_is_read_as_it_was_written(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a,b", "seed=0..4")
    sweep = read_sweep(folder)
    assert (sweep.name, sweep.task, sweep.count) == ("sweep", "train", 10)
    write_sweep(folder, sweep)
    assert read_sweep(folder) == sweep
    assert names_of(workspace.project) == ["sweep"]
    assert folders.read_record(folder).sweep == "sweep"


def test_a_trials_record_is_what_write_record_would_write(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a,b", "seed=0..4", arguments=("é",))
    sweep = read_sweep(folder)
    record = Maker(folder, sweep, workspace.project.results).make(7, {"x": "b", "seed": "1"})
    path = record.folder / names.JOB_FILE
    made = path.read_bytes()
    assert folders.read_record(record.folder) == record
    folders.write_record(record)
    assert path.read_bytes() == made
    assert (record.folder / folders.CODE_LIST).samefile(folder / folders.CODE_LIST)


def test_a_run_folder_that_was_half_made_is_made_whole(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a,b")
    maker = Maker(folder, read_sweep(folder), workspace.project.results)
    whole = maker.make(1, {"x": "a"})
    (whole.folder / names.JOB_FILE).unlink()
    again = maker.make(1, {"x": "a"})
    assert folders.read_record(again.folder) == again
    with pytest.raises(ConflictError):
        maker.make(1, {"x": "a"})


def test_a_name_is_taken_once(workspace: Workspace) -> None:
    swept(workspace, "x=a")
    with pytest.raises(ConflictError, match="there is a sweep `sweep` already"):
        swept(workspace, "x=b")


def test_nothing_is_left_of_one_that_was_refused(workspace: Workspace) -> None:
    for seeds in ("seed=a,b", "seed=0..2:0.5", "seed=-2..2"):
        with pytest.raises(UsageError, match="no seed"):
            swept(workspace, seeds)
    with pytest.raises(UsageError, match="no seed"):
        swept(workspace, "seed=0.0..1.0", search=Search(kind="random", trials=2))
    with pytest.raises(UsageError, match="no task"):
        swept(workspace, "x=a", task="trian")
    with pytest.raises(UsageError, match="an axis at least"):
        swept(workspace)
    assert names_of(workspace.project) == []


def test_a_newer_or_broken_sweep_is_said_so(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a")
    path = folder / "sweep.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(NewerFormatError):
        read_sweep(folder)
    path.write_text("{")
    with pytest.raises(PerdureError, match="cannot be read"):
        read_sweep(folder)


def test_a_sweep_goes_by_the_beginning_of_its_name(workspace: Workspace, tmp_path: Path) -> None:
    folder = swept(workspace, "x=a", name="rates-one")
    swept(workspace, "x=a", name="rates-two")
    assert find_sweep(workspace.project, "rates-o") == folder
    with pytest.raises(UsageError, match="means 2 sweeps"):
        find_sweep(workspace.project, "rates")
    with pytest.raises(UsageError, match="no sweep") as raised:
        find_sweep(workspace.project, "rates-onne")
    assert raised.value.hint == "did you mean `rates-one`?"


def test_what_does_not_extend_a_sweep_is_said_so(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a,b", "seed=0..4")
    for axes, trials, said in (
        ({}, None, "say what"),
        ({"y": "1"}, None, "no axis `y`"),
        ({"x": "a"}, None, "already"),
        ({"x": "0.1..0.2"}, None, "no end of values"),
        ({"seed": "z"}, None, "no seed"),
        ({"seed": "5..6:0.5"}, None, "no seed"),
        ({"seed": "-2..4"}, None, "no seed"),
        ({}, 3, "as many trials as combinations"),
    ):
        with pytest.raises(UsageError, match=said):
            extend(folder, axes, trials=trials)
    assert read_sweep(folder).count == 10


def test_what_nobody_could_read_is_not_stored(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notation, "MOST_HELD", 15)
    folder = swept(workspace, "n=0..15", "x=a")
    extend(folder, {"n": "16,17"})
    before = (folder / "sweep.json").read_bytes()
    with pytest.raises(UsageError, match="cannot be extended by that: a range of `n`"):
        extend(folder, {"x": "b"})
    assert (folder / "sweep.json").read_bytes() == before
    assert read_sweep(folder).count == 18


def test_a_stopped_sweep_stays_so_where_there_is_no_more_to_run(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a,b")
    stopped = edit(folder, lambda sweep: wanting(sweep, stopped=True, why="asked to"))
    before = (folder / "sweep.json").read_bytes()
    assert retry(folder, {}) == stopped
    with pytest.raises(UsageError, match="has 2 at a time already"):
        extend(folder, {}, max_running=2)
    assert (folder / "sweep.json").read_bytes() == before
    assert extend(folder, {}, max_running=3) == wanting(stopped, max_running=3)
    more = extend(folder, {"x": "c"}, max_running=3)
    assert (more.stopped, more.why, more.count) == (False, "", 3)


def test_a_search_is_extended_by_a_trial_at_least(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a,b", search=Search(kind="random", trials=2))
    with pytest.raises(UsageError, match="`--trials` is 1 or more"):
        extend(folder, {}, trials=0)
    assert extend(folder, {}, trials=1).count == 3
