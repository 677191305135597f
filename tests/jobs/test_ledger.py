from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.jobs import folder as folders
from perdure.jobs import ledger, ledger_table, lifecycle
from perdure.jobs.control import kill
from perdure.jobs.launch import start
from perdure.jobs.ledger import statuses
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobStatus, State
from tests.jobs.projects import (
    FOREVER,
    finished,
    submitted,
    until_state,
    until_step,
    write_events,
)
from tests.waiting import until

ROOT = Path(__file__).parents[2]


def listed(workspace: Workspace, *, every: bool = True) -> dict[str, State]:
    return {each.record.job: each.state for each in statuses(workspace, all=every)}


def ended_job(workspace: Workspace, name: str, state: str = "SUCCEEDED") -> Path:
    """Return the run folder of a job that ended without ever having run."""
    record = submitted(workspace, "1", name=name)
    write_events(
        record.folder,
        1,
        [
            {"t": 1.0, "event": "started", "pid": 1, "boot": ""},
            {"t": 2.0, "event": "ended", "state": state, "reason": "done", "code": 0},
        ],
    )
    return record.folder


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    look = lifecycle.status_in

    def counting(folder: Path, *arguments: object) -> JobStatus:
        read.append(folder.name)
        return look(folder, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "status_in", counting)
    return read


def test_no_results_is_no_job(workspace: Workspace) -> None:
    assert statuses(workspace, all=True) == []
    assert not workspace.project.state.exists()


def test_jobs_come_in_the_order_of_their_submission(workspace: Workspace) -> None:
    for name in ("c", "a", "b"):
        submitted(workspace, "1", name=name)
    for _ in range(2):
        assert list(listed(workspace)) == ["c", "a", "b"]


def test_a_row_says_what_the_folder_says(workspace: Workspace) -> None:
    record = submitted(workspace, "--name", "a b\n$(x)", "", name="mine")
    write_events(
        record.folder,
        1,
        [
            {"t": 1.0, "event": "started", "pid": 1, "boot": ""},
            {"t": 2.0, "event": "durable", "step": 30},
            {"t": 3.0, "event": "step", "step": 40},
            {"t": 4.0, "event": "started", "pid": 1, "boot": ""},
            {"t": 5.0, "event": "ended", "state": "FAILED", "reason": "crashed", "code": 1},
        ],
    )
    read, cached = statuses(workspace, all=True)[0], statuses(workspace, all=True)[0]
    assert type(cached.record).__name__ == "JobHeading"  # the record itself was not read again
    for field in JobStatus.__slots__:
        if field != "record":
            assert getattr(cached, field) == getattr(read, field), field
    assert cached.record.arguments == ("--name", "a b\n$(x)", "")
    assert cached.record.folder == record.folder
    assert (cached.state, cached.ended, cached.durable_step) == (State.FAILED, 5.0, 30)


def test_what_ended_is_not_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, state in (("a", "SUCCEEDED"), ("b", "FAILED"), ("c", "INTERRUPTED")):
        ended_job(workspace, name, state)
    read = count_reads(monkeypatch)
    first = listed(workspace)
    assert sorted(read) == ["a", "b", "c"]
    read.clear()
    assert listed(workspace) == first
    assert read == []


def test_what_runs_is_read_each_time(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    assert listed(workspace) == {record.job: State.QUEUED}
    start(workspace, record)
    until(lambda: listed(workspace) == {record.job: State.RUNNING})
    until_step(record)
    assert statuses(workspace, all=True)[0].pid is not None
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert listed(workspace) == {record.job: State.CANCELLED}


def test_a_job_that_is_resumed_behind_its_back_is_seen(workspace: Workspace) -> None:
    folder = ended_job(workspace, "a", "INTERRUPTED")
    assert listed(workspace) == {"a": State.INTERRUPTED}
    record = folders.read_record(folder)
    start(workspace, record)
    until_state(record, State.SUCCEEDED)
    until(lambda: not folders.is_alive(folder))
    assert listed(workspace) == {"a": State.SUCCEEDED}


def test_a_killed_interrupted_job_is_seen(workspace: Workspace) -> None:
    folder = ended_job(workspace, "a", "INTERRUPTED")
    listed(workspace)
    kill(folder, timeout_s=1.0)
    assert listed(workspace) == {"a": State.CANCELLED}


def test_a_deleted_job_is_gone_and_its_name_is_free(workspace: Workspace) -> None:
    folder = ended_job(workspace, "a")
    ended_job(workspace, "b")
    assert len(listed(workspace)) == 2
    shutil.rmtree(folder)
    assert listed(workspace) == {"b": State.SUCCEEDED}
    ended_job(workspace, "a", "FAILED")
    assert listed(workspace) == {"b": State.SUCCEEDED, "a": State.FAILED}


def test_a_name_that_was_taken_over_between_two_looks(workspace: Workspace) -> None:
    folder = ended_job(workspace, "a")
    listed(workspace)
    folder.rename(folder.with_name("kept-so-that-its-inode-is-not-used-again"))
    ended_job(workspace, "a", "FAILED")
    assert listed(workspace)["a"] is State.FAILED


def test_what_is_not_a_job_is_passed_over(workspace: Workspace) -> None:
    ended_job(workspace, "a")
    results = workspace.project.results
    (results / "plots").mkdir()
    (results / ".hidden").mkdir()
    (results / "README.md").write_text("")
    (results / "link").symlink_to(results / "a")
    for _ in range(2):
        assert list(listed(workspace)) == ["a"]


def test_folders_that_cannot_be_read_are_listed_with_the_reason(workspace: Workspace) -> None:
    for name, text in (("newer", '{"format": 99}'), ("torn", '{"form')):
        (ended_job(workspace, name) / "job.json").write_text(text)
    for _ in range(2):
        found = {each.record.job: each for each in statuses(workspace, all=False)}
        assert found["newer"].state is found["torn"].state is State.UNKNOWN
        assert "newer format" in found["newer"].reason
        assert "cannot be read" in found["torn"].reason


def test_the_short_list_has_what_goes_on_and_the_last_that_ended(workspace: Workspace) -> None:
    for number in range(14):
        ended_job(workspace, f"ended-{number:02}", "FAILED" if number % 2 else "SUCCEEDED")
        if number < 2:
            ended_job(workspace, f"open-{number}", "INTERRUPTED")
    expected = [f"ended-{number:02}" for number in range(4, 14)]
    for _ in range(2):
        assert list(listed(workspace, every=False)) == ["open-0", "open-1", *expected]
    assert len(listed(workspace)) == 16


def another_form(file: Path, whole: bytes) -> None:
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE jobs (x)")
    database.execute("PRAGMA user_version = 99")
    database.close()


DAMAGE: dict[str, Callable[[Path, bytes], object]] = {
    "missing": lambda file, whole: None,
    "empty": lambda file, whole: file.write_bytes(b""),
    "noise": lambda file, whole: file.write_bytes(b"\xff" * 9000),
    "cut": lambda file, whole: file.write_bytes(whole[: len(whole) // 2]),
    "folder": lambda file, whole: file.mkdir(),
    "another form": another_form,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_ledger_that_is_lost_or_broken_is_made_again(workspace: Workspace, damage: str) -> None:
    for number in range(20):
        ended_job(workspace, f"job-{number:02}")
    before = listed(workspace)
    file = workspace.project.state / ledger.LEDGER
    whole = file.read_bytes()
    file.unlink()
    DAMAGE[damage](file, whole)
    for _ in range(2):
        assert listed(workspace) == before
    if damage != "folder":
        assert file.read_bytes()[:15] == b"SQLite format 3"


def test_a_ledger_that_is_locked_costs_time_only(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_table, "_BUSY_S", 0.01)
    ended_job(workspace, "a")
    listed(workspace)
    ended_job(workspace, "b")
    database = sqlite3.connect(workspace.project.state / ledger.LEDGER, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        assert set(listed(workspace)) == {"a", "b"}
        shutil.rmtree(workspace.project.results / "a")
        assert set(listed(workspace)) == {"b"}
    finally:
        database.close()
    assert set(listed(workspace)) == {"b"}


def test_many_processes_look_at_once(workspace: Workspace) -> None:
    for number in range(30):
        ended_job(workspace, f"job-{number:02}")
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.jobs.projects import training\n"
        "from perdure.jobs.ledger import statuses\n"
        "workspace = training(Path(sys.argv[1]))\n"
        "sys.stdin.readline()\n"
        "print({len(statuses(workspace, all=True)) for _ in range(20)})\n"
    )
    argv = [sys.executable, "-c", program, str(workspace.project.root)]
    lookers = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(4)
    ]
    answers = [looker.communicate("\n", timeout=120)[0] for looker in lookers]
    assert answers == ["{30}\n"] * 4
    assert finished(workspace, submitted(workspace, "1")).state is State.SUCCEEDED


def test_meanwhile_is_called_once_where_no_host_is_asked(workspace: Workspace) -> None:
    called: list[str] = []
    for _ in range(2):
        statuses(workspace, all=True, meanwhile=lambda: called.append("once"))
    assert called == ["once", "once"]
    ended_job(workspace, "one")
    statuses(workspace, all=True, meanwhile=lambda: called.append("with a job"))
    assert called[2:] == ["with a job"]
