from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import NewerFormatError, PerdureError
from perdure.jobs import folder as folders
from perdure.jobs.workspace import Workspace
from perdure.model.job import Event, ImageUsed, Resources
from tests.jobs.projects import submitted, write_events


def test_a_record_is_found_wherever_its_folder_was_moved(
    workspace: Workspace, tmp_path: Path
) -> None:
    record = submitted(workspace, "1")
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    record.folder.rename(moved)
    found = folders.read_record(moved)
    assert (found.folder, found.job, found.seed) == (moved, "renamed", record.seed)


def test_an_unknown_field_is_passed_over(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    path = record.folder / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue"}))
    assert folders.read_record(record.folder) == record


def test_a_record_from_before_there_were_containers_is_read(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    path = record.folder / "job.json"
    old = json.loads(path.read_text())
    del old["resources"], old["environment"]["image"]
    path.write_text(json.dumps(old))
    assert folders.read_record(record.folder) == record


def test_an_image_and_its_limits_are_kept(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    image = ImageUsed("tag", "sha256:ab", 1000, 1001, pegged=True)
    for gpus in (2, "all"):
        resources = Resources(gpus, memory_bytes=2**40, cpus=0.5)
        environment = replace(record.environment, image=image)
        kept = replace(record, target="docker", environment=environment, resources=resources)
        folders.write_record(kept)
        assert folders.read_record(record.folder) == kept
        assert folders.target_of(record.folder) == "docker"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"target": 3}'])
def test_whatever_a_record_says_it_can_be_stopped(tmp_path: Path, text: str) -> None:
    assert folders.target_of(tmp_path) == "local"
    (tmp_path / "job.json").write_text(text)
    assert folders.target_of(tmp_path) == "local"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', '{"seed": "x"}', "\0"])
def test_a_damaged_record_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(PerdureError, match=r"job\.json` cannot be read") as caught:
        folders.read_record(tmp_path)
    assert not isinstance(caught.value, NewerFormatError)


def test_a_folder_without_a_record_is_none(tmp_path: Path) -> None:
    assert not folders.is_job(tmp_path)
    with pytest.raises(PerdureError, match="is not a run folder"):
        folders.read_record(tmp_path)


def test_events_are_read_in_order_and_torn_ones_left_out(tmp_path: Path) -> None:
    events = [{"t": 1, "event": "started"}, {"t": 2.5, "event": "step", "step": 1}]
    write_events(tmp_path, 3, events)
    path = folders.events_path(tmp_path, 3)
    path.write_bytes(path.read_bytes() + b'\n[]\nnull\n{"t": "x", "event": "y"}\n{"t": 3, "eve')
    assert folders.read_events(tmp_path, 3) == [
        Event(3, 1.0, "started", {}),
        Event(3, 2.5, "step", {"step": 1}),
    ]


def test_of_the_steps_the_last_whole_one_is_enough(tmp_path: Path) -> None:
    events = [{"t": 0, "event": "started"}]
    events += [{"t": i, "event": "step", "step": i} for i in range(1, 1000)]
    events += [{"t": 1000, "event": "warning", "text": 'a "event": "step" inside'}]
    write_events(tmp_path, 1, events)
    path = folders.events_path(tmp_path, 1)
    path.write_bytes(path.read_bytes() + b'{"t": 1001, "event": "step", "st')
    found = folders.read_events(tmp_path, 1, last_step_only=True)
    assert [event.name for event in found] == ["started", "step", "warning"]
    assert found[1].number("step") == 999


def test_attempts_are_the_files_that_look_like_it(tmp_path: Path) -> None:
    assert folders.attempts(tmp_path) == []
    for name in ("000010.jsonl", "000002.jsonl", "000002.ctl", "x.jsonl", ".jsonl"):
        (tmp_path / "attempts").mkdir(exist_ok=True)
        (tmp_path / "attempts" / name).write_text("")
    assert folders.attempts(tmp_path) == [2, 10]
    assert folders.read_history(tmp_path) == []


def test_nobody_holds_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert not folders.is_alive(tmp_path / "missing")
    assert folders.read_events(tmp_path / "missing", 1) == []
