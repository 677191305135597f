from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.errors import ConflictError, PerdureError, StorageError
from perdure.hosts.host import Host
from perdure.jobs import elsewhere, snapshot
from perdure.jobs import folder as folders
from perdure.jobs.lifecycle import read_status
from perdure.jobs.source import read_tree_of
from perdure.jobs.witness import read_witness
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, State
from perdure.model.report import silent
from perdure.model.settings import TargetSettings
from perdure.model.station import Station
from perdure.targets import far
from perdure.targets.place import Place
from perdure.targets.protocol import Handle
from perdure.targets.remote import Remote
from tests.jobs.projects import submitted, training


@dataclass
class Nearby:
    """A host that is another folder of this machine. It fails with what `refuses` says."""

    name: str = "gpu1"
    is_here: bool = False
    remedy: str = "another `root`"
    refuses: Exception | None = None

    def call(self, function: Callable[..., Any], *given: object, **named: object) -> Any:  # noqa: ANN401
        if self.refuses is not None:
            raise self.refuses
        return function(*given, **named)

    def call_long(self, function: Callable[..., Any], *given: object, timeout_s: float) -> Any:  # noqa: ANN401
        return self.call(function, *given)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return training(tmp_path / "here")


@pytest.fixture
def host() -> Nearby:
    return Nearby()


@pytest.fixture
def place(workspace: Workspace, host: Nearby, tmp_path: Path) -> Place:
    return Place(cast(Host, host), str(tmp_path / "there" / "cats"), workspace.project.root)


@pytest.fixture
def target(workspace: Workspace, place: Place) -> Remote:
    station = Station("gpu1", place.root, far.PROCESS)
    return Remote("gpu1", workspace.project, place.host, TargetSettings("gpu1"), station)


@pytest.fixture
def record(workspace: Workspace) -> JobRecord:
    job = replace(submitted(workspace, name="one"), target="gpu1")
    folders.write_record(job)
    return job


def sent_tree(record: JobRecord) -> snapshot.Tree:
    tree = read_tree_of(record)
    assert tree is not None
    return tree


def test_only_contents_that_lack_are_sent(
    workspace: Workspace, place: Place, record: JobRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "_BATCH_BYTES", 1)
    told: list[str] = []

    def report(message: str, *, done: int | None = None, total: int | None = None) -> None:
        told.append(f"{message} {done}/{total}")

    tree = sent_tree(record)
    elsewhere.send_code(place, workspace.project, tree, report)
    assert told == [f"sending code to `gpu1` {n}/2" for n in range(2)]
    there = Path(place.root, ".perdure", "snapshots", tree.digest)
    assert {each.name for each in there.iterdir()} == {
        *("pyproject.toml", "train.py", "data", "results")
    }
    assert (there / "results").resolve() == Path(place.root, "results").resolve()
    elsewhere.send_code(place, workspace.project, tree, report)
    other = workspace.project.root / "train.py"
    other.write_text("another")
    again = snapshot.read_tree(workspace.project, silent, store=True)
    elsewhere.send_code(place, workspace.project, again, report)
    assert len(told) == 3


def test_code_that_was_changed_there_is_not_run(
    workspace: Workspace, place: Place, record: JobRecord
) -> None:
    elsewhere.ensure_code(place, workspace.project, record, silent)
    elsewhere.ensure_code(place, workspace.project, record, silent)
    file = Path(place.root, ".perdure", "snapshots", record.code.digest, "train.py")
    file.chmod(0o644)
    file.write_text("changed")
    with pytest.raises(StorageError, match="was changed after the job was submitted"):
        elsewhere.ensure_code(place, workspace.project, record, silent)


def test_without_its_list_the_code_is_not_sent(
    workspace: Workspace, place: Place, record: JobRecord
) -> None:
    (record.folder / "code.json").unlink()
    with pytest.raises(StorageError, match="list of the code"):
        elsewhere.ensure_code(place, workspace.project, record, silent)


def test_a_run_folder_is_sent_once(place: Place, record: JobRecord) -> None:
    elsewhere.send_folder(place, record)
    elsewhere.send_folder(place, record)
    there = Path(place.root, "results", "one")
    assert (there / "job.json").read_bytes() == (record.folder / "job.json").read_bytes()
    folders.write_record(replace(record, seed=99))
    with pytest.raises(ConflictError, match="another job `one`"):
        elsewhere.send_folder(place, record)


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "perdure clean results --on gpu1"), (errno.EACCES, "root")]
)
def test_a_disk_that_refuses_is_told_with_its_host(
    place: Place, host: Nearby, record: JobRecord, number: int, hint: str
) -> None:
    host.refuses = OSError(number, os.strerror(number), "/srv/x")
    with pytest.raises(StorageError, match="cannot write `/srv/x` on `gpu1`") as caught:
        elsewhere.send_folder(place, record)
    assert hint in (caught.value.hint or "")


def test_a_job_without_a_supervisor_is_ended_where_it_is(
    place: Place, target: Remote, record: JobRecord
) -> None:
    elsewhere.send_folder(place, record)
    elsewhere.finish(target, Handle("gpu1", "one", record.folder), 5.0)
    there = Path(place.root, "results", "one")
    assert read_status(there).state is State.CANCELLED
    assert read_status(record.folder).state is State.QUEUED


def test_what_came_without_a_witness_is_asked_after(target: Remote, record: JobRecord) -> None:
    assert elsewhere.adopt(target, [record.folder, record.folder.parent]) == ["one"]
    found = read_witness(record.folder)
    assert found is not None
    assert (found.target, found.station) == ("gpu1", target.station)
    assert elsewhere.adopt(target, [record.folder]) == []


def test_folders_are_made_moved_and_removed_on_both_sides(
    workspace: Workspace, place: Place
) -> None:
    here, final = workspace.project.root / "a", workspace.project.root / "b"
    elsewhere.make_folders(place, [here])
    elsewhere.touch(place, here / "x")
    elsewhere.fetch(place, here)
    assert (here / "x").exists()
    elsewhere.move_folder(place, here, final)
    assert Path(place.root, "b", "x").exists()
    assert (final / "x").exists()
    elsewhere.remove_folder(place, final)
    assert not Path(place.root, "b").exists()
    assert not final.exists()


def test_weights_stay_where_they_are(place: Place, record: JobRecord) -> None:
    there = Path(place.root, "results", "one")
    for name in ("checkpoints/g1/meta.json", "checkpoints/g1/state.safetensors", "outputs/a.bin"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("x")
    (there / "link").symlink_to("/etc/passwd")
    elsewhere.fetch(place, record.folder)
    assert (record.folder / "checkpoints/g1/meta.json").exists()
    assert (record.folder / "outputs/a.bin").exists()
    assert not (record.folder / "checkpoints/g1/state.safetensors").exists()
    assert not (record.folder / "link").exists()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_a_host_that_names_files_elsewhere_is_refused(
    place: Place, record: JobRecord, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.targets import shelf

    monkeypatch.setattr(shelf, "listed", lambda folder: [[name, 1, 1]])
    with pytest.raises(PerdureError, match="outside of the run folder"):
        elsewhere.fetch(place, record.folder)
