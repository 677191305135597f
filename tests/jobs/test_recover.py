from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill
from perdure.jobs.launch import resume, start
from perdure.jobs.ledger import LEDGER
from perdure.jobs.lifecycle import read_status
from perdure.jobs.recover import is_to_end, recover, recoverable, shut_down, spare
from perdure.jobs.workspace import Workspace
from perdure.model.job import Event, JobRecord, State
from tests.jobs.projects import FOREVER, alive, submitted, until_state, until_step
from tests.waiting import until


def names(workspace: Workspace) -> list[str]:
    return [status.record.job for status in recoverable(workspace)]


def lost(workspace: Workspace, steps: str = FOREVER) -> tuple[JobRecord, int]:
    """Return a job whose supervisor was killed, and what was its training."""
    record = submitted(workspace, steps)
    supervisor = start(workspace, record)
    child = until_step(record).pid
    assert child is not None
    os.kill(supervisor, signal.SIGKILL)
    until_state(record, State.LOST)
    return record, child


def test_supervisor_and_child_killed_together_go_on(workspace: Workspace) -> None:
    record, child = lost(workspace)
    os.kill(child, signal.SIGKILL)
    until(lambda: not alive(child))
    assert names(workspace) == [record.job]
    recover(workspace, recoverable(workspace)[0])
    until_state(record, State.RUNNING)
    log = record.folder / "logs" / "000002.log"
    until(lambda: log.exists() and log.read_text() == "from step 3\n")
    assert names(workspace) == []
    assert not read_status(record.folder).began_again


def test_an_orphan_is_stopped_before_another_one_starts(workspace: Workspace) -> None:
    record, child = lost(workspace)
    assert alive(child)
    recover(workspace, recoverable(workspace)[0])
    assert not alive(child)
    until_state(record, State.RUNNING)


def test_no_ledger_is_needed(workspace: Workspace) -> None:
    record, _ = lost(workspace)
    assert names(workspace) == [record.job]
    (workspace.project.state / LEDGER).write_bytes(b"\xff" * 5000)
    assert names(workspace) == [record.job]


def test_what_was_stopped_on_purpose_is_left(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    start(workspace, record)
    until_step(record)
    assert names(workspace) == []
    interrupt(record.folder, reason="perdure interrupt")
    until_state(record, State.INTERRUPTED)
    assert names(workspace) == []


def until_later(record: JobRecord) -> None:
    """Return once a file that is touched is younger than the last event, for any file system."""
    told = folders.events_path(record.folder, 1)
    probe = record.folder / "outputs" / "probe"

    def later() -> bool:
        probe.touch()
        return probe.stat().st_mtime > told.stat().st_mtime

    until(later)


def test_what_was_killed_and_heard_nothing_is_to_end(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    supervisor = start(workspace, record)
    until_step(record)
    os.kill(supervisor, signal.SIGSTOP)
    until_later(record)
    assert kill(record.folder, timeout_s=0.0) == "unconfirmed"
    os.kill(supervisor, signal.SIGKILL)
    until_state(record, State.LOST)
    assert is_to_end(record.folder)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert not is_to_end(record.folder)
    resume(workspace, record)
    until_state(record, State.RUNNING)


def test_who_names_a_killed_job_means_it(workspace: Workspace) -> None:
    record, _ = lost(workspace)
    assert not is_to_end(record.folder)
    until_later(record)
    (record.folder / "CANCEL").touch()
    assert is_to_end(record.folder)
    spare(record.folder)
    assert not is_to_end(record.folder)
    resume(workspace, record)
    until_state(record, State.RUNNING)


def rebooted(folder: Path) -> None:
    """Make the attempts of a job ones of an earlier start of this machine."""
    for number in folders.attempts(folder):
        path = folders.events_path(folder, number)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if line["event"] == "started":
                # The ids are somebody else's by now: they may not be touched.
                line |= {"boot": "an earlier one", "pid": os.getpid(), "pgid": os.getpgid(0)}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_after_a_crash_of_the_machine_all_that_ran_goes_on(workspace: Workspace) -> None:
    record, child = lost(workspace)
    os.kill(child, signal.SIGKILL)
    rebooted(record.folder)
    assert [s.reason for s in recoverable(workspace)] == ["the machine restarted"]
    recover(workspace, recoverable(workspace)[0])
    assert until_state(record, State.RUNNING).attempt == 2


def test_after_an_orderly_restart_too(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    supervisor = start(workspace, record)
    until_step(record)
    os.kill(supervisor, signal.SIGTERM)
    until_state(record, State.INTERRUPTED)
    until(lambda: not folders.is_alive(record.folder))
    assert names(workspace) == []  # the machine still runs: somebody meant it
    rebooted(record.folder)
    assert names(workspace) == [record.job]
    recover(workspace, recoverable(workspace)[0])
    assert until_state(record, State.RUNNING).attempt == 2


@pytest.mark.parametrize(
    ("before", "now", "reason", "expected"),
    [
        ("one", "two", "SIGTERM", True),
        ("one", "one", "SIGTERM", False),
        ("one", "two", "SIGINT", False),
        ("one", "two", "ctrl-c", False),
        ("", "two", "SIGTERM", False),
        ("one", "", "SIGTERM", False),
    ],
)
def test_what_a_shutdown_stopped(before: str, now: str, reason: str, expected: bool) -> None:
    events = [
        Event(1, 0.0, "started", {"boot": before}),
        Event(1, 1.0, "notice", {"reason": reason}),
        Event(1, 2.0, "ended", {"state": "INTERRUPTED"}),
    ]
    assert shut_down(events, now) is expected
    assert not shut_down([events[0], events[2]], now)
