from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from perdure.errors import ConflictError
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill, wait_until_stopped
from perdure.jobs.launch import JobRequest, resume, start, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from tests.jobs.projects import (
    FOREVER,
    alive,
    finished,
    shell,
    submitted,
    until_state,
    until_step,
)
from tests.waiting import until

# Does not hear SIGTERM, and neither does its child, which has a session of its own.
STUBBORN = """\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
    with open(os.environ["PERDURE_RUN_DIR"] + "/outputs/child", "w") as file:
        file.write(str(child.pid))
while True:
    time.sleep(0.05)
"""


def stubborn(workspace: Workspace) -> tuple[Path, int, int]:
    """Return a run folder with a training that ignores SIGTERM, its id and its child's."""
    script = workspace.project.root / "stubborn.py"
    script.write_text(STUBBORN)
    request = JobRequest(command=(sys.executable, "stubborn.py"), grace_s=0.2, retries=0)
    record = submit(workspace, request)
    start(workspace, record)
    told = record.folder / "outputs" / "child"
    until(lambda: told.exists() and told.read_text() != "")
    pid = read_status(record.folder).pid
    assert pid is not None
    return record.folder, pid, int(told.read_text())


def test_an_interrupted_job_saves_and_stops(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    start(workspace, record)
    until_step(record)
    assert not wait_until_stopped(record.folder, timeout_s=0)
    interrupt(record.folder, reason='a "reason"\nwith $(everything)', deadline=None)
    status = until_state(record, State.INTERRUPTED)
    saved = int((record.folder / "outputs" / "step").read_text())
    assert status.durable_step == saved
    notices = [e for e in folders.read_events(record.folder, 1) if e.name == "notice"]
    assert notices[0].text("reason") == 'a "reason"\nwith $(everything)'
    assert not (record.folder / "PREEMPT").exists()
    assert list(record.folder.glob(".PREEMPT-*")) == []


def test_what_does_not_run_cannot_be_interrupted(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    with pytest.raises(ConflictError, match="is not running: queued"):
        interrupt(record.folder, reason="test")
    finished(workspace, record)
    with pytest.raises(ConflictError, match="is not running: succeeded"):
        interrupt(record.folder, reason="test")
    assert not (record.folder / "PREEMPT").exists()


def test_a_killed_job_is_gone(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    supervisor = start(workspace, record)
    pid = until_step(record).pid
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert pid is not None
    assert not alive(pid)
    until(lambda: not alive(supervisor))
    status = read_status(record.folder)
    assert status.state is State.CANCELLED
    events = folders.read_events(record.folder, 1)
    assert [event.name for event in events].count("ended") == 1


def test_what_ignores_sigterm_is_killed_with_its_children(workspace: Workspace) -> None:
    folder, pid, child = stubborn(workspace)
    assert kill(folder, timeout_s=120) == "confirmed"
    assert not alive(pid)
    assert not alive(child)


def test_what_a_dead_supervisor_left_is_killed_too(workspace: Workspace) -> None:
    folder, pid, child = stubborn(workspace)
    record = folders.read_record(folder)
    supervisor = next(
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if path.joinpath("cmdline").exists() and str(folder).encode() in cmdline(path)
    )
    os.kill(supervisor, signal.SIGKILL)
    until_state(record, State.LOST)
    assert alive(pid)
    assert alive(child)
    assert kill(folder, timeout_s=1.0) == "confirmed"
    assert not alive(pid)
    assert not alive(child)
    status = read_status(folder)
    assert (status.state, status.reason) == (State.CANCELLED, "killed")
    assert folders.read_history(folder)[-1].number("code") == 130


def cmdline(process: Path) -> bytes:
    try:
        return process.joinpath("cmdline").read_bytes()
    except OSError:
        return b""


def test_a_supervisor_that_does_not_answer_is_not_called_dead(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    supervisor = start(workspace, record)
    until_step(record)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        assert kill(record.folder, timeout_s=0.05) == "unconfirmed"
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert kill(record.folder, timeout_s=120) == "confirmed"


def test_killing_what_never_ran_what_waits_and_what_has_ended(workspace: Workspace) -> None:
    queued = submitted(workspace, "1")
    assert kill(queued.folder, timeout_s=1.0) == "confirmed"
    assert read_status(queued.folder).state is State.CANCELLED
    done = submitted(workspace, "1")
    finished(workspace, done)
    before = folders.read_history(done.folder)
    assert kill(done.folder, timeout_s=1.0) == "confirmed"
    assert folders.read_history(done.folder) == before


def test_a_killed_job_can_be_resumed(workspace: Workspace) -> None:
    record = submitted(workspace, "5")
    assert kill(record.folder, timeout_s=1.0) == "confirmed"
    resume(workspace, record)
    status = until_state(record, State.SUCCEEDED)
    assert (status.attempt, status.step) == (2, 5)


def test_a_torn_last_line_does_not_swallow_the_end(workspace: Workspace) -> None:
    record = shell(workspace, "true")
    path = folders.events_path(record.folder, 1)
    path.parent.mkdir()
    path.write_text(json.dumps({"t": 1, "event": "started", "pid": 1}) + '\n{"t": 2, "eve')
    assert kill(record.folder, timeout_s=1.0) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED
