"""What happens to jobs of a cluster: each ends with what the undisturbed training comes to."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from perdure.jobs.launch import resume
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, Resources, State
from perdure.model.settings import SlurmSettings
from perdure.targets import slurm_queue
from tests.engines.slurm import Cluster
from tests.targets.slurm_project import (
    digest,
    expected,
    node_of,
    slurm_workspace,
    started,
    until_gone,
    until_state,
    until_step,
    with_settings,
)
from tests.waiting import until


@pytest.fixture(autouse=True)
def unknown_queue() -> None:
    """Forget what another test's cluster said."""
    slurm_queue.QUEUE.forget()


@pytest.fixture
def workspace(slurm: Cluster, tmp_path: Path) -> Workspace:
    return slurm_workspace(tmp_path / "a project")


def number_of(record: JobRecord, slurm: Cluster) -> str:
    return next(job for job, _, comment, _ in slurm.jobs() if comment.endswith(f":{record.job}"))


def finished(workspace: Workspace, record: JobRecord, steps: str, attempts: int) -> None:
    status = until_gone(record)
    assert (status.state, status.attempt) == (State.SUCCEEDED, attempts)
    assert digest(record) == expected(workspace.project, steps)


def test_preempted_it_saves_waits_and_goes_on(workspace: Workspace, slurm: Cluster) -> None:
    spot = with_settings(workspace, SlurmSettings("spot"))
    record = started(spot, "100", "0.1", resources=Resources(cpus=4))
    until_step(record)
    # All nodes are wanted by who comes first.
    words = ("sbatch", "--parsable", "--partition=urgent", "--nodes=4", "--exclusive")
    urgent = slurm.ask(*words, "--output=/dev/null", "--wrap=sleep 600")
    assert until_state(record, State.QUEUED).durable_step
    # Slurm has a reason when it has looked at the job again.
    until(lambda: read_status(record.folder).reason in ("BeginTime", "Resources", "Priority"))
    slurm.ask("scancel", urgent)
    finished(workspace, record, "100", attempts=2)
    first = (record.folder / "attempts" / "000001.jsonl").read_text()
    assert '"reason": "SIGTERM"' in first


def test_a_limit_of_time_and_a_touched_file_cost_a_turn(
    workspace: Workspace, slurm: Cluster
) -> None:
    record = started(workspace, "500", "0.1", grace_s=2.0, resources=Resources(time_s=3600))
    until_step(record)
    # Slurm looks at limits every 30 s: it warns at the last look before the time to do so.
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 45))
    slurm.ask("scontrol", "update", f"JobId={number_of(record, slurm)}", f"EndTime={end}")
    first = record.folder / "attempts" / "000001.jsonl"
    # Meanwhile: a program touches a file, and Slurm goes on with that job, too.
    other = started(workspace, "60", "0.1")
    until_step(other)
    (other.folder / "PREEMPT").touch()
    finished(workspace, other, "60", attempts=2)
    until(lambda: '"reason": "SIGUSR2"' in first.read_text())
    finished(workspace, record, "500", attempts=2)


def test_cancelled_with_slurms_own_command_it_can_be_resumed(
    workspace: Workspace, slurm: Cluster
) -> None:
    record = started(workspace, "60", "0.1")
    until_step(record)
    slurm.ask("scancel", number_of(record, slurm))
    assert until_gone(record).state is State.INTERRUPTED
    resume(workspace, record)
    finished(workspace, record, "60", attempts=2)


def test_a_dead_node_costs_what_was_not_saved(workspace: Workspace, slurm: Cluster) -> None:
    record = started(workspace, "150", "0.1")
    until_step(record)
    node = node_of(record, slurm.jobs)
    slurm.kill(node)
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=dead")
    until_step(record, attempt=2)
    assert node_of(record, slurm.jobs) != node
    finished(workspace, record, "150", attempts=2)


def test_a_scheduler_that_restarts_is_not_noticed(workspace: Workspace, slurm: Cluster) -> None:
    record = started(workspace, "60", "0.1")
    until_step(record)
    slurm.stop_controller()
    slurm.start_controller()
    finished(workspace, record, "60", attempts=1)


def test_a_node_that_comes_back_finds_its_job_elsewhere_and_ends_it(
    workspace: Workspace, slurm: Cluster
) -> None:
    """The daemon of a node is lost, and what it runs is not: two writers, of whom one is fenced."""
    record = started(workspace, "200", "0.1")
    until_step(record)
    node = node_of(record, slurm.jobs)
    slurm.lose(node)
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
    until_step(record, attempt=2)
    first = record.folder / "attempts" / "000001.jsonl"
    until(lambda: '"event": "ended"' in first.read_text())
    assert '"reason": "fenced"' in first.read_text().splitlines()[-1]
    slurm.find(node)
    finished(workspace, record, "200", attempts=2)


def test_there_is_no_accounting_here(slurm: Cluster) -> None:
    done = subprocess.run(["sacct"], capture_output=True, timeout=120)
    assert done.returncode != 0
    assert b"accounting storage is disabled" in done.stderr


def test_requeued_after_its_end_it_does_nothing_again(workspace: Workspace, slurm: Cluster) -> None:
    record = started(workspace, "5", "0")
    number = number_of(record, slurm)
    assert until_gone(record).state is State.SUCCEEDED
    until(lambda: slurm.jobs() == [])
    slurm.ask("scontrol", "requeue", number)
    until(lambda: slurm.jobs() == [])
    status = read_status(record.folder)
    assert (status.state, status.attempt) == (State.SUCCEEDED, 1)
