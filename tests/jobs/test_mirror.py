from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from _pytest.fixtures import SubRequest

from perdure.errors import HostUnreachable, StorageError, TimeoutExpired
from perdure.hosts.side.frames import pack, read_frame, unpack
from perdure.jobs import folder as folders
from perdure.jobs import looking, mirror
from perdure.jobs.find import job_names
from perdure.jobs.follow import follow
from perdure.jobs.ledger import statuses
from perdure.jobs.lifecycle import read_status
from perdure.jobs.mirror import bring, look, trouble
from perdure.jobs.witness import Witness, read_witness, write_witness
from perdure.jobs.workspace import Workspace
from perdure.model.job import Event, JobRecord, LogText, State
from perdure.model.station import Station
from tests.jobs.projects import submitted, training
from tests.waiting import until

JOB = "brave-otter"


def as_it_is(said: dict[str, Any]) -> dict[str, Any]:
    return said


@dataclass
class Elsewhere:
    """A host that is a folder of this machine, as `mirror` would see it through ssh.

    `ahead_s` is how far its clock is ahead; `away` is what it fails with; `asked` counts questions.
    """

    root: Path
    ahead_s: float = 0.0
    boot: str = "first"
    away: Exception | None = None
    asked: int = 0
    is_warm: bool = True
    answers: threading.Event = field(default_factory=threading.Event)
    said: Callable[[dict[str, Any]], dict[str, Any]] = as_it_is

    @property
    def folder(self) -> Path:
        return self.root / "results" / JOB

    def write(self, name: str, text: str) -> None:
        """Append to a file of the run folder there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text)

    def event(self, event: str, at: float, **fields: object) -> None:
        line = json.dumps({"t": at + self.ahead_s, "event": event, **fields})
        self.write("attempts/000001.jsonl", line + "\n")

    def hold(self) -> Callable[[], None]:
        """Hold the run folder as a supervisor does; return what lets go of it."""
        fd = os.open(self.folder / "supervisor.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.write("gen-000001", "{}")
        return lambda: os.close(fd)


@dataclass(frozen=True)
class FakeSsh:
    """What `mirror` asks instead of ssh."""

    host: Elsewhere
    name: str
    destination: str
    asks: bool = True

    def call(self, function: Callable[..., Any], *arguments: object) -> dict[str, Any]:
        self.host.asked += 1
        self.host.answers.wait()
        if self.host.away is not None:
            raise self.host.away
        frame = read_frame(io.BytesIO(pack(function(*arguments))))
        assert frame is not None
        said = unpack(*frame)
        said |= {"boot": self.host.boot, "time": said["time"] + self.host.ahead_s}
        return self.host.said(dict(said))

    def question(self, function: Callable[..., Any], *arguments: object) -> FakeQuestion | None:
        return FakeQuestion(self, function, arguments) if self.host.is_warm else None


@dataclass(frozen=True)
class FakeQuestion:
    """A question over a connection that is there."""

    ssh: FakeSsh
    function: Callable[..., Any]
    arguments: Sequence[object]

    def answer(self, timeout_s: float) -> dict[str, Any]:
        if not self.ssh.host.answers.wait(timeout_s):
            raise TimeoutExpired("no answer")
        return self.ssh.call(self.function, *self.arguments)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return training(tmp_path / "here")


@pytest.fixture(params=["warm", "cold"])
def there(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, request: SubRequest
) -> Elsewhere:
    found = Elsewhere(tmp_path / "there", is_warm=request.param == "warm")
    found.answers.set()
    monkeypatch.setattr(
        mirror, "Line", lambda name, destination, asks: FakeSsh(found, name, destination, asks)
    )
    monkeypatch.setattr(mirror, "EVERY_S", 0.0)
    monkeypatch.setattr(mirror, "_askers", {})
    return found


@pytest.fixture
def record(workspace: Workspace, there: Elsewhere) -> JobRecord:
    """Return a job that is there: here is a witness of it, and nothing of what it did."""
    job = replace(submitted(workspace, name=JOB), target="gpu1")
    folders.write_record(job)
    shutil.copytree(job.folder, there.folder)
    station = Station("gpu1", str(there.root), "process")
    write_witness(job.folder, Witness("gpu1", station))
    return job


def witness(record: JobRecord) -> Witness:
    found = read_witness(record.folder)
    assert found is not None
    return found


def test_who_completes_a_name_asks_no_host(
    workspace: Workspace, record: JobRecord, there: Elsewhere
) -> None:
    assert job_names(workspace) == [record.job]
    assert there.asked == 0


def test_what_is_written_there_is_read_here(record: JobRecord, there: Elsewhere) -> None:
    let_go = there.hold()
    there.event("started", 100.0, boot="first", pid=7)
    there.event("step", 101.0, step=4)
    assert read_status(record.folder).state is State.RUNNING
    assert read_status(record.folder).step == 4
    there.event("durable", 102.0, step=8)
    assert read_status(record.folder).durable_step == 8
    there.event("ended", 103.0, state="SUCCEEDED", reason="done", code=0)
    let_go()
    found = read_status(record.folder)
    assert (found.state, found.target, found.problem) == (State.SUCCEEDED, "gpu1", "")


def test_a_piece_at_a_time_and_torn_anywhere(
    record: JobRecord, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "MOST_BYTES", 3)
    text = "".join(f"\u00e9\u20ac {number}\n" for number in range(9))
    let_go = there.hold()
    there.event("started", 1.0)
    there.write("logs/000001.log", text)
    there.event("ended", 2.0, state="SUCCEEDED", code=0)
    let_go()
    found = list(follow(record.folder, stop=lambda: False))
    assert "".join(item.text for item in found if isinstance(item, LogText)) == text
    assert [item.name for item in found if isinstance(item, Event)] == ["started", "ended"]


def test_a_file_that_is_shorter_there_is_fetched_anew(record: JobRecord, there: Elsewhere) -> None:
    there.write("logs/000001.log", "what was written first\n")
    bring(record.folder)
    (there.folder / "logs" / "000001.log").write_text("another\n")
    bring(record.folder)
    assert (record.folder / "logs" / "000001.log").read_text() == "another\n"


def test_who_has_ended_is_not_asked_after_again(record: JobRecord, there: Elsewhere) -> None:
    there.write("gen-000001", "{}")
    there.event("ended", 5.0, state="FAILED", reason="crashed", code=1)
    there.write("checkpoints/g000001-s0000000003/meta.json", "{}")
    there.write("checkpoints/g000001-s0000000003/state.safetensors", "weights")
    assert read_status(record.folder).state is State.FAILED
    assert witness(record).over
    asked = there.asked
    assert read_status(record.folder).state is State.FAILED
    assert there.asked == asked
    kept = record.folder / "checkpoints" / "g000001-s0000000003"
    assert [each.name for each in kept.iterdir()] == ["meta.json"]


def test_one_that_was_interrupted_may_go_on_by_itself(
    workspace: Workspace, record: JobRecord, there: Elsewhere
) -> None:
    there.write("gen-000001", "{}")
    there.event("ended", 5.0, state="INTERRUPTED", reason="SIGTERM", code=75)
    assert [each.state for each in statuses(workspace, all=True)] == [State.INTERRUPTED]
    let_go = there.hold()
    there.write("gen-000002", "{}")
    there.write("attempts/000002.jsonl", json.dumps({"t": 9.0, "event": "started"}) + "\n")
    assert [each.state for each in statuses(workspace, all=True)] == [State.RUNNING]
    let_go()


def test_a_host_that_does_not_answer_is_told_as_it_was(
    workspace: Workspace, record: JobRecord, there: Elsewhere
) -> None:
    let_go = there.hold()
    began = time.time()
    there.event("started", began)
    assert read_status(record.folder).state is State.RUNNING
    there.away = HostUnreachable("cannot reach `gpu1`")
    let_go()
    found = read_status(record.folder)
    assert (found.state, found.problem) == (State.RUNNING, "cannot reach `gpu1`")
    assert found.asked_at is not None
    assert began <= found.asked_at <= time.time()
    assert trouble(record.folder) == "cannot reach `gpu1`"
    with pytest.raises(HostUnreachable):
        bring(record.folder)
    there.away = None
    bring(record.folder)
    assert trouble(record.folder) == ""
    assert read_status(record.folder).state is State.LOST


def test_one_that_hangs_is_waited_for_once(
    workspace: Workspace, record: JobRecord, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PATIENCE_S", 0.05)
    there.answers.clear()
    assert not folders.is_alive(record.folder)
    assert trouble(record.folder) == "`gpu1` does not answer"
    for _ in range(20):
        folders.is_alive(record.folder)
    assert there.asked == 1
    let_go = there.hold()
    there.answers.set()
    until(lambda: folders.is_alive(record.folder))
    assert trouble(record.folder) == ""
    let_go()


def test_a_machine_that_restarted_is_the_hosts(record: JobRecord, there: Elsewhere) -> None:
    there.write("gen-000001", "{}")
    there.event("started", 5.0, boot="first")
    assert read_status(record.folder).reason == "its supervisor is gone"
    there.boot = "second"
    assert read_status(record.folder).reason == "the machine restarted"


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
def test_clocks_may_be_an_hour_apart(record: JobRecord, there: Elsewhere, ahead_s: float) -> None:
    there.ahead_s = ahead_s
    let_go = there.hold()
    now = time.time()
    there.event("started", now - 100)
    there.event("durable", now - 50, step=3)
    found = read_status(record.folder)
    assert found.started == pytest.approx(now - 100, abs=5)
    assert found.saved_at == pytest.approx(now - 50, abs=5)
    assert found.asked_at == pytest.approx(now, abs=30)
    let_go()


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "attempts/../../outside", "a\0b"])
def test_a_host_writes_into_the_run_folder_only(
    record: JobRecord, there: Elsewhere, name: str
) -> None:
    def hostile(said: dict[str, Any]) -> dict[str, Any]:
        for job in said["jobs"].values():
            job["files"] = {name: [0, b"bad"]}
        return said

    there.said = hostile
    before = sorted(record.folder.parent.parent.rglob("*"))
    with pytest.raises(StorageError, match="outside of the run folder"):
        bring(record.folder)
    read_status(record.folder)
    known = {*before, *(record.folder.parent.parent / ".perdure").rglob("*")}
    assert [each for each in record.folder.parent.parent.rglob("*") if each not in known] == []


def test_two_who_ask_at_once_write_the_same(record: JobRecord, there: Elsewhere) -> None:
    text = "".join(f"line {number}\n" for number in range(5000))

    def ask() -> None:
        for _ in range(30):
            bring(record.folder)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for each in askers:
        each.start()
    for number in range(0, len(text), 977):
        there.write("logs/000001.log", text[number : number + 977])
    for each in askers:
        each.join()
    bring(record.folder)
    assert (record.folder / "logs" / "000001.log").read_text() == text


def test_a_job_of_this_machine_asks_nobody(workspace: Workspace, there: Elsewhere) -> None:
    job = submitted(workspace)
    bring(job.folder)
    assert read_status(job.folder).state is State.QUEUED
    assert trouble(job.folder) == ""
    assert there.asked == 0


def test_one_that_was_cleaned_away_meanwhile_is_no_error(
    record: JobRecord, there: Elsewhere
) -> None:
    known = witness(record)

    def gone(said: dict[str, Any]) -> dict[str, Any]:
        shutil.rmtree(record.folder)
        return said

    there.said = gone
    assert look(record.folder, known) == known
