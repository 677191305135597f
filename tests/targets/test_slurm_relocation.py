"""A job of this machine that goes on in a real Slurm, and back; and what keeps it where it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from perdure.errors import ConflictError, PerdureError, SchedulerUnreachable, UsageError
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt
from perdure.jobs.launch import JobRequest, begin, resume, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.relocate import relocate
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, Resources, State
from perdure.model.report import silent
from perdure.model.settings import SlurmSettings
from perdure.runtime import names
from perdure.targets import slurm_queue, slurm_ticket
from perdure.targets.slurm import record_stop
from tests.engines.slurm import Cluster
from tests.targets.slurm_project import (
    digest,
    expected,
    slurm_workspace,
    started,
    until_gone,
    until_state,
    until_step,
    with_settings,
)
from tests.waiting import until

STEPS = "60"


@pytest.fixture(autouse=True)
def unknown_queue() -> None:
    """Forget what another test's cluster said."""
    slurm_queue.QUEUE.forget()


@pytest.fixture
def workspace(slurm: Cluster, tmp_path: Path) -> Workspace:
    return slurm_workspace(tmp_path / "a 'project$(x)%j\n\u00e9")


def moved(workspace: Workspace, record: JobRecord, name: str) -> JobRecord:
    return relocate(workspace, folders.read_record(record.folder), name, silent)


def stopped(record: JobRecord) -> JobRecord:
    """Return a job that a person has interrupted, once nobody has it any more."""
    interrupt(record.folder, reason="test")
    assert until_gone(record).state is State.INTERRUPTED
    return record


def test_a_job_of_this_machine_goes_on_in_the_cluster_and_back(
    workspace: Workspace, slurm: Cluster
) -> None:
    request = JobRequest("train", (STEPS, "0.1"), seed=7, grace_s=10.0, retries=0)
    record = submit(workspace, request)
    begin(workspace, record)
    until_step(record)
    away = moved(workspace, stopped(record), "lab")
    assert (away.target, slurm.jobs()) == ("lab", [])
    resume(workspace, away)
    before = until_step(record, attempt=2).step or 0
    assert len(slurm.jobs()) == 1
    back = moved(workspace, stopped(record), "local")
    assert not (record.folder / names.TICKET_FILE).exists()
    resume(workspace, back)
    status = until_gone(back)
    assert (status.state, status.attempt, status.record) == (State.SUCCEEDED, 3, back)
    assert (status.step or 0) > before
    assert digest(record) == expected(workspace.project, STEPS)
    assert "attempt 3 goes on from step" in folders.log_path(record.folder, 3).read_text()
    assert slurm.jobs() == []


def refused(workspace: Workspace, record: JobRecord, name: str, kind: type[PerdureError]) -> str:
    """Return why a job did not go somewhere; it is where it was."""
    before = folders.read_record(record.folder)
    with pytest.raises(kind) as error:
        moved(workspace, record, name)
    assert folders.read_record(record.folder) == before
    return error.value.message


def test_what_runs_or_waits_stays(workspace: Workspace, slurm: Cluster) -> None:
    record = started(workspace, "1000", "0.1")
    until_state(record, State.RUNNING)
    assert refused(workspace, record, "local", ConflictError).endswith("is already running")
    stopped(record)
    until(lambda: slurm.jobs() == [])
    held = with_settings(workspace, SlurmSettings(lines=("--hold",)))
    resume(held, record)
    until_state(record, State.QUEUED)
    assert refused(held, record, "local", ConflictError).endswith("waits on `lab`")
    stopped(record)


def test_what_slurm_still_has_stays_whatever_its_run_folder_says(
    workspace: Workspace, slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_ticket, "_LEAVING_S", 0.0)
    held = with_settings(workspace, SlurmSettings(lines=("--hold",)))
    record = started(held, "5", "0")
    record_stop(record.folder, "test", time.time())
    assert read_status(record.folder).state is State.INTERRUPTED
    said = refused(held, record, "local", ConflictError)
    assert said == f"Slurm still has `{record.job}`: {slurm.jobs()[0][0]} is pending"
    assert (record.folder / names.TICKET_FILE).exists()


def test_a_machine_without_slurms_programs_keeps_it(
    workspace: Workspace, slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = started(workspace, "1000", "0.1")
    until_state(record, State.RUNNING)
    stopped(record)
    until(lambda: slurm.jobs() == [])
    with monkeypatch.context() as without:
        without.setenv("PATH", "/nowhere")
        said = refused(workspace, record, "local", SchedulerUnreachable)
    assert said.endswith("this machine has no Slurm")


@pytest.mark.long
def test_a_scheduler_that_does_not_answer_keeps_it(workspace: Workspace, slurm: Cluster) -> None:
    record = started(workspace, "1000", "0.1")
    until_step(record, 1)
    slurm.stop_controller()
    until(lambda: bool(read_status(record.folder).problem))
    said = refused(workspace, record, "local", SchedulerUnreachable)
    assert said.startswith(f"nobody can say whether `{record.job}` runs: Slurm does not answer")
    slurm.start_controller()
    until(lambda: not read_status(record.folder).problem)
    stopped(record)
    slurm.stop_controller()
    said = refused(workspace, record, "local", SchedulerUnreachable)
    assert said.startswith("Slurm does not answer")


def test_where_a_job_cannot_go_and_with_what(workspace: Workspace) -> None:
    request = JobRequest(command=("true",), target="lab", resources=Resources(time_s=3600.0))
    record = submit(workspace, request)
    said = refused(workspace, record, "docker", UsageError)
    assert "it runs in an installed environment, and jobs there in an image" in said
    assert "only a scheduler has time limits" in refused(workspace, record, "local", UsageError)
    back = relocate(workspace, record, "local", silent, Resources())
    assert (back.target, back.resources) == ("local", Resources())
    with pytest.raises(UsageError, match="is on `local` already"):
        relocate(workspace, back, "local", silent, Resources(gpus=1))
    with pytest.raises(UsageError, match="is over before anything is trained"):
        relocate(workspace, back, "lab", silent, Resources(time_s=30.0))
    assert folders.read_record(back.folder) == back
