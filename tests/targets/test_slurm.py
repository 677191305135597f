"""Jobs of a real Slurm: the contract of all targets, and what only a scheduler has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import ConflictError, SchedulerUnreachable, UsageError
from perdure.jobs.control import interrupt, kill
from perdure.jobs.launch import JobRequest, begin, explain, resume, submit
from perdure.jobs.ledger import statuses
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, JobStatus, Resources, State
from perdure.model.project import Project, Task
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from perdure.targets import slurm_queue
from perdure.targets.registry import open_target
from perdure.targets.slurm import Slurm
from tests.contract.target import Harness, TargetContract
from tests.engines.slurm import Cluster
from tests.jobs.test_environment import ask_for
from tests.jobs.test_ledger import count_reads
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


@pytest.fixture(autouse=True)
def unknown_queue() -> None:
    """Forget what another test's cluster said."""
    slurm_queue.QUEUE.forget()


@pytest.fixture
def workspace(slurm: Cluster, tmp_path: Path) -> Workspace:
    return slurm_workspace(tmp_path / "a 'project$(x)%j\n\u00e9")


def lab(workspace: Workspace) -> Slurm:
    found = open_target("lab", workspace.project, workspace.settings)
    assert isinstance(found, Slurm)
    return found


def listed(workspace: Workspace) -> list[JobStatus]:
    return statuses(workspace, all=True)


def shell(workspace: Workspace, script: str, *arguments: str) -> JobRecord:
    command = ("sh", "-c", script, "sh", *arguments)
    request = JobRequest(command=command, grace_s=1.0, retries=0, seed=1, target="lab")
    return submit(workspace, request)


@pytest.fixture
def harness(workspace: Workspace) -> Harness:
    return Harness(lab(workspace), lambda *given: shell(workspace, *given))


class TestSlurm(TargetContract):
    pass


def test_a_job_runs_on_a_node_and_comes_to_what_it_comes_to_anywhere(
    workspace: Workspace,
) -> None:
    record = started(workspace, "20", "0")
    assert until_gone(record).state is State.SUCCEEDED
    assert digest(record) == expected(workspace.project, "20")
    log = (record.folder / "logs" / "000001.log").read_text()
    assert log.startswith("node")


def test_a_job_has_the_locked_environment_on_whichever_node(slurm: Cluster, tmp_path: Path) -> None:
    """It is made once, by uv, where all nodes see it."""
    root = tmp_path / "my project"
    ask_for(root, "1.0")
    (root / "train.py").write_text(
        "import brought, os, sys; print(brought.version, os.environ['SLURMD_NODENAME'], sys.prefix)"
    )
    task = Task("train", ("python", "train.py"), retries=0)
    lab = TargetSettings("", "slurm", "slurm", slurm=SlurmSettings())
    settings = Settings(targets=MappingProxyType({"lab": lab}))
    workspace = Workspace(Project(root, "cats", "cats", {"train": task}), settings)
    record = submit(workspace, JobRequest("train", target="lab"))
    begin(workspace, record)
    assert until_gone(record).state is State.SUCCEEDED
    version, node, prefix = printed(record)
    assert (version, node[:4], prefix) == ("1.0", "node", record.environment.prefix)
    assert Path(prefix).is_relative_to(root / ".perdure")
    # Elsewhere: the first node takes nobody just now.
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    again = submit(workspace, JobRequest("train", target="lab"))
    begin(workspace, again)
    assert until_gone(again).state is State.SUCCEEDED
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert printed(again)[1] not in ("", node)
    assert printed(again)[2] == prefix


def printed(record: JobRecord) -> list[str]:
    return (record.folder / "logs" / "000001.log").read_text().strip().split(" ", 2)


def test_a_job_has_the_resources_that_it_asked_for(workspace: Workspace) -> None:
    command = ("sh", "-c", 'echo $CUDA_VISIBLE_DEVICES; echo $SLURM_CPUS_PER_TASK; echo "$FOO"')
    request = JobRequest(
        command=command,
        seed=1,
        target="lab",
        environment={"FOO": "a 'b\n$(x)"},
        resources=Resources(gpus=2, cpus=3, memory_bytes=500 * 2**20),
    )
    record = submit(workspace, request)
    begin(workspace, record)
    assert until_gone(record).state is State.SUCCEEDED
    assert lab(workspace).logs(_handle(workspace, record)).decode() == "0,1\n3\na 'b\n$(x)\n"


def _handle(workspace: Workspace, record: JobRecord):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from perdure.targets.protocol import Handle

    return Handle("lab", record.job, record.folder)


def test_a_job_that_waits_says_why_and_leaves_the_queue_when_it_is_interrupted(
    workspace: Workspace, slurm: Cluster
) -> None:
    held = with_settings(workspace, SlurmSettings(lines=("--hold",)))
    record = started(held, "5", "0")
    status = until_state(record, State.QUEUED)
    assert status.reason == "JobHeldUser"
    with pytest.raises(ConflictError, match="is already running"):
        begin(held, record)
    interrupt(record.folder, reason="test")
    assert read_status(record.folder).state is State.INTERRUPTED
    assert slurm.jobs() == []
    resume(workspace, record)
    assert until_gone(record).state is State.SUCCEEDED


def test_a_job_that_waits_can_be_killed(workspace: Workspace, slurm: Cluster) -> None:
    record = started(with_settings(workspace, SlurmSettings(lines=("--hold",))), "5", "0")
    until_state(record, State.QUEUED)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED
    assert slurm.jobs() == []


def test_a_job_that_leaves_the_queue_late_finds_that_it_was_killed(
    workspace: Workspace, slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = started(with_settings(workspace, SlurmSettings(lines=("--hold",))), "5", "0")
    (tmp_path / "scancel").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert kill(record.folder, timeout_s=0) == "unconfirmed"
    slurm.ask("scontrol", "release", slurm.jobs()[0][0])
    status = until_gone(record)
    assert (status.state, status.step) == (State.CANCELLED, None)


def test_who_waits_is_listed_without_its_run_folder_until_that_changes(
    workspace: Workspace, slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = with_settings(workspace, SlurmSettings(lines=("--hold",)))
    jobs = [started(held, "3", "0") for _ in range(3)]
    for record in jobs:
        # Longer ago than the times of any file system are coarse.
        os.utime(record.folder, (1e9, 1e9))
    first = listed(held)
    assert [each.state for each in first] == [State.QUEUED] * 3
    assert {each.reason for each in first} == {"JobHeldUser"}
    read = count_reads(monkeypatch)
    assert [(e.state, e.reason) for e in listed(held)] == [(e.state, e.reason) for e in first]
    assert [e.record.arguments for e in listed(held)] == [("3", "0")] * 3
    assert read == []
    # What the scheduler says of it is asked each time, and what began tells so itself.
    slurm.ask("scancel", slurm.jobs()[0][0])
    until(lambda: sorted(e.state.value for e in listed(held)) == ["LOST", "QUEUED", "QUEUED"])
    for number, *_ in slurm.jobs():
        slurm.ask("scontrol", "release", number)
    until(lambda: sorted(e.state.value for e in listed(held)) == ["LOST", "SUCCEEDED", "SUCCEEDED"])
    assert read != []


def test_who_is_interrupted_by_a_person_stays_so_until_resumed(
    workspace: Workspace, slurm: Cluster
) -> None:
    record = started(workspace, "40", "0.1")
    until_step(record)
    interrupt(record.folder, reason="perdure interrupt")
    assert until_gone(record).state is State.INTERRUPTED
    until(lambda: slurm.jobs() == [])
    resume(workspace, record)
    status = until_gone(record)
    assert (status.state, status.attempt) == (State.SUCCEEDED, 2)
    assert digest(record) == expected(workspace.project, "40")


def test_a_running_job_is_killed_and_seen_to_be_gone(workspace: Workspace, slurm: Cluster) -> None:
    record = started(workspace, "1000", "0.1")
    until_step(record)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert slurm.jobs() == []
    assert read_status(record.folder).state is State.CANCELLED


def test_a_lost_answer_submits_nothing_twice(
    workspace: Workspace, slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An sbatch whose answer does not come back: the job is found by its comment."""
    real = tmp_path / "bin"
    real.mkdir()
    program = real / "sbatch"
    program.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@" >/dev/null\necho gone\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{real}:{os.environ['PATH']}")
    record = started(workspace, "1000", "0.1")
    until_step(record)
    assert len(slurm.jobs()) == 1
    again = lab(workspace).submit(lab(workspace).plan(record), record.job)
    assert again.pid is None
    assert len(slurm.jobs()) == 1
    kill(record.folder, timeout_s=120)


def test_the_whole_script_is_explained_and_nothing_is_submitted(
    workspace: Workspace, slurm: Cluster
) -> None:
    request = JobRequest("train", ("5",), target="lab", resources=Resources(gpus=1, time_s=3600))
    text = explain(workspace, request)
    assert "sbatch --parsable" in text
    assert "#SBATCH --gres=gpu:1\n" in text
    assert "#SBATCH --time=01:00:00\n" in text
    assert "scontrol requeue" in text
    assert slurm.jobs() == []
    assert not workspace.project.results.exists()


@pytest.mark.parametrize(
    ("settings", "resources", "message", "hint"),
    [
        (SlurmSettings("mian"), Resources(), "no partition `mian`", "did you mean `main`?"),
        (SlurmSettings(), Resources(gpus=9), "no node has 9 GPUs: the most is 2", ""),
        (SlurmSettings(time_s=60), Resources(), "is over before anything is trained", "--grace"),
        (SlurmSettings("short", time_s=7200), Resources(), "more than the partition's", "30m"),
        (SlurmSettings(lines=("--nonsense",)), Resources(), "unrecognized option", "--explain"),
        (SlurmSettings(lines=("--constraint=h100",)), Resources(), "invalid feature", "--explain"),
    ],
)
def test_what_slurm_cannot_give_is_one_clear_error_and_leaves_no_job(
    workspace: Workspace, settings: SlurmSettings, resources: Resources, message: str, hint: str
) -> None:
    asked = with_settings(workspace, settings)
    with pytest.raises(UsageError) as caught:
        started(asked, "5", "0", resources=resources, grace_s=60.0)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)
    assert list(workspace.project.results.glob("*")) == []


def test_a_partitions_own_limit_leaves_time_to_train_too(workspace: Workspace) -> None:
    asked = with_settings(workspace, SlurmSettings("short"))
    with pytest.raises(
        UsageError,
        match="the partition's time limit of 00:30:00 is over before anything is trained",
    ):
        started(asked, "5", "0", grace_s=1790.0)
    assert until_gone(started(asked, "5", "0", grace_s=1789.0)).state is State.SUCCEEDED


def test_nodes_that_are_away_refuse_no_line(workspace: Workspace, slurm: Cluster) -> None:
    nodes = [f"NodeName=node{number}" for number in range(1, 5)]
    for name in nodes:
        slurm.ask("scontrol", "update", name, "State=DRAIN", "Reason=test")
    try:
        record = started(with_settings(workspace, SlurmSettings(lines=("--nice=1",))), "5", "0")
        until_state(record, State.QUEUED)
    finally:
        for name in nodes:
            slurm.ask("scontrol", "update", name, "State=RESUME")
    assert until_gone(record).state is State.SUCCEEDED


def test_a_probe_says_what_to_do(workspace: Workspace) -> None:
    wrong = with_settings(workspace, SlurmSettings("mian"))
    found = open_target("lab", wrong.project, wrong.settings).probe()
    assert (found.problem, found.hint) == ("Slurm has no partition `mian`", "did you mean `main`?")


def test_without_a_scheduler_nothing_is_submitted_and_nothing_is_lost(
    workspace: Workspace, slurm: Cluster
) -> None:
    record = started(workspace, "150", "0.1")
    until_step(record)
    slurm.stop_controller()
    with pytest.raises(SchedulerUnreachable):
        started(workspace, "5", "0")
    slurm_queue.QUEUE.changed()
    slurm_queue.QUEUE.known(fresh=True)
    status = read_status(record.folder)
    assert status.state is State.RUNNING
    assert "does not answer" in status.problem
    slurm.start_controller()
    status = until_gone(record)
    assert (status.state, status.problem) == (State.SUCCEEDED, "")
    assert digest(record) == expected(workspace.project, "150")
