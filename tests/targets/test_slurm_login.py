"""A cluster by its login node: gpu1 has Slurm's commands, and the nodes see its files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import ConflictError, HostUnreachable, SchedulerUnreachable, UsageError
from perdure.hosts import sending
from perdure.jobs import elsewhere
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill
from perdure.jobs.launch import JobRequest, begin, explain, rerun, resume, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.relocate import relocate
from perdure.jobs.workspace import Workspace
from perdure.model.job import ImageUsed, JobRecord, Resources, State
from perdure.model.project import Project
from perdure.model.report import silent
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from perdure.runtime import names
from perdure.targets.cluster import capacity_of, queue_of
from perdure.targets.protocol import Handle
from perdure.targets.registry import open_target
from perdure.targets.remote import Remote
from perdure.targets.slurm_image import FOLDER, file_name
from tests.contract.target import Harness, TargetContract
from tests.engines.engines import RealEngine
from tests.engines.hosts import Hosts
from tests.engines.slurm import Cluster
from tests.jobs.projects import make_project
from tests.jobs.test_environment import ask_for
from tests.targets.slurm_project import (
    TRAINING,
    digest,
    until_gone,
    until_state,
    until_step,
    with_settings,
)
from tests.waiting import until

#: Says which packages it has, and waits to be interrupted twice.
LOCKED = """\
import brought, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print(brought.version, sys.prefix, flush=True)
time.sleep(1000 * (int(os.environ["PERDURE_ATTEMPT"]) < 3))
"""
PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun")
#: Saves nothing, and counts its attempts.
SHELL = 'echo "attempt $PERDURE_ATTEMPT on $SLURMD_NODENAME"; trap "exit 75" TERM; sleep 1'


@pytest.fixture
def login(hosts_here: Hosts, slurm: Cluster) -> Iterator[Hosts]:
    """Return the hosts; Slurm's commands on gpu1 reach the cluster."""
    programs = hosts_here.state / "gpu1" / "bin"
    for name in PROGRAMS:
        words = f'SLURM_CONF={slurm.conf_away} exec {shutil.which(name)} "$@"'
        (programs / name).write_text(f"#!/bin/sh\n{words}\n")
        (programs / name).chmod(0o755)
    yield hosts_here
    for name in PROGRAMS:
        (programs / name).unlink()


@pytest.fixture
def workspace(login: Hosts, tmp_path: Path) -> Iterator[Workspace]:
    root = login.place("gpu1") / f"jobs of {tmp_path.parent.name}{tmp_path.name}"
    login.run("gpu1", "mkdir", "-p", str(root))
    lab = TargetSettings("root@gpu1", "slurm", "slurm", f"{root}/a 'b$(x)", slurm=SlurmSettings())
    project = make_project(tmp_path / "a 'project$(x)\n\u00e9", {"train.py": ""})
    settings = Settings(targets=MappingProxyType({"lab": lab}))
    # A job that exists is dealt with by the settings in the files.
    local = project.root / ".perdure" / "local.toml"
    local.parent.mkdir(exist_ok=True)
    local.write_text('[targets.lab]\nkind = "slurm"\nhost = "root@gpu1"\n')
    yield Workspace(project, settings)
    shutil.rmtree(root, ignore_errors=True)


def lab(workspace: Workspace) -> Remote:
    found = open_target("lab", workspace.project, workspace.settings)
    assert isinstance(found, Remote)
    return found


def recorded(workspace: Workspace, *command: str) -> JobRecord:
    request = JobRequest(command=command, grace_s=1.0, retries=0, seed=1, target="lab")
    return submit(workspace, request)


@pytest.mark.long
class TestSlurmByItsLoginNode(TargetContract):
    @pytest.fixture
    def harness(self, workspace: Workspace) -> Harness:
        def job(script: str, *arguments: str) -> JobRecord:
            record = recorded(workspace, "sh", "-c", script, "sh", *arguments)
            elsewhere.send_folder(lab(workspace).place, record)
            return record

        return Harness(lab(workspace), job)


def test_a_job_goes_there_takes_turns_and_comes_back(workspace: Workspace) -> None:
    record = recorded(workspace, "sh", "-c", SHELL)
    begin(workspace, record)
    status = until_gone(record)
    assert (status.state, status.target, status.attempt) == (State.SUCCEEDED, "lab", 1)
    log = lab(workspace).logs(Handle("lab", record.job, record.folder)).decode()
    assert log.startswith("attempt 1 on node")
    assert (record.folder / "logs" / "000001.log").read_text() == log


def test_its_reasons_are_told_here_and_it_can_be_stopped_and_resumed(
    workspace: Workspace, slurm: Cluster
) -> None:
    record = recorded(workspace, "sh", "-c", 'trap "exit 75" TERM; while :; do sleep 0.1; done')
    begin(workspace, record)
    until_state(record, State.RUNNING)
    number, *_ = slurm.jobs()[0]
    slurm.ask("scontrol", "requeuehold", number)
    until_state(record, State.QUEUED)
    until(lambda: read_status(record.folder).reason != "")
    slurm.ask("scontrol", "release", number)
    until_state(record, State.RUNNING)
    interrupt(record.folder, reason="perdure interrupt")
    assert until_gone(record).state is State.INTERRUPTED
    resume(workspace, record)
    until_state(record, State.RUNNING)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED
    until(lambda: slurm.jobs() == [])


def test_the_cluster_is_looked_at_from_here(workspace: Workspace) -> None:
    target = lab(workspace)
    assert target.probe().problem is None
    assert {each["partition"] for each in capacity_of(target)} >= {"main", "spot"}
    assert queue_of(target) == []
    request = JobRequest(command=("true",), target="lab", resources=Resources(gpus=1))
    assert "#SBATCH --gres=gpu:1\n" in explain(workspace, request)


def trained(workspace: Workspace, *, slowly: bool) -> JobRecord:
    """Return a training of this machine that has begun."""
    (workspace.project.root / "train.py").write_text(TRAINING)
    command = (sys.executable, "train.py", "60", "0.1" if slowly else "0")
    record = submit(workspace, JobRequest(command=command, grace_s=10.0, retries=0, seed=7))
    begin(workspace, record)
    return record


def moved(workspace: Workspace, record: JobRecord, name: str) -> JobRecord:
    """Return a job that was interrupted, once it goes on there."""
    interrupt(record.folder, reason="test")
    assert until_gone(record).state is State.INTERRUPTED
    found = relocate(workspace, folders.read_record(record.folder), name, silent)
    resume(workspace, found)
    return found


def test_a_job_of_this_machine_goes_on_there_and_comes_back(
    workspace: Workspace, slurm: Cluster
) -> None:
    alone = trained(workspace, slowly=False)
    record = trained(workspace, slowly=True)
    until_step(record)
    away = moved(workspace, record, "lab")
    until_step(away, attempt=2)
    assert (read_status(away.folder).target, len(slurm.jobs())) == ("lab", 1)
    back = moved(workspace, away, "local")
    status = until_gone(back)
    assert (status.state, status.target, status.attempt) == (State.SUCCEEDED, "local", 3)
    assert digest(back) == digest(alone)
    assert "attempt 3 goes on from step" in folders.log_path(back.folder, 3).read_text()
    assert not (back.folder / names.TICKET_FILE).exists()
    assert slurm.jobs() == []


def test_another_job_of_that_name_there_keeps_it_here(workspace: Workspace) -> None:
    record = submit(workspace, JobRequest(command=("true",), seed=1))
    file = Path(lab(workspace).place.path(record.folder)) / names.JOB_FILE
    file.parent.mkdir(parents=True)
    file.write_text('{"submitted": "at another time"}')
    with pytest.raises(ConflictError, match="there is another job"):
        relocate(workspace, record, "lab", silent)
    assert file.read_text() == '{"submitted": "at another time"}'
    assert folders.read_record(record.folder) == record
    assert not folders.is_elsewhere(record.folder)


def test_a_way_there_that_breaks_off_is_gone_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = submit(workspace, JobRequest(command=("true",), grace_s=1.0, retries=0, seed=1))
    with monkeypatch.context() as broken:

        def lost(*_: object) -> bool:
            raise HostUnreachable("lost")

        broken.setattr(sending, "send", lost)
        with pytest.raises(HostUnreachable):
            relocate(workspace, record, "lab", silent)
    assert folders.read_record(record.folder) == record
    away = relocate(workspace, record, "lab", silent)
    assert relocate(workspace, away, "lab", silent) == away
    resume(workspace, away)
    assert until_gone(away).state is State.SUCCEEDED


@pytest.mark.long
def test_a_scheduler_there_that_does_not_answer_keeps_it_there(
    workspace: Workspace, login: Hosts
) -> None:
    record = recorded(workspace, "sh", "-c", 'trap "exit 75" TERM; while :; do sleep 0.1; done')
    begin(workspace, record)
    until_state(record, State.RUNNING)
    interrupt(record.folder, reason="test")
    assert until_gone(record).state is State.INTERRUPTED
    silent_queue = "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1"
    (login.state / "gpu1" / "bin" / "squeue").write_text(f"#!/bin/sh\n{silent_queue}\n")
    before = folders.read_record(record.folder)
    with pytest.raises(SchedulerUnreachable, match="Slurm does not answer"):
        relocate(workspace, before, "local", silent)
    assert folders.read_record(record.folder) == before
    assert elsewhere.target_in(record.folder, workspace.project, "lab").name == "lab"


@pytest.mark.long
def test_a_job_finds_its_locked_environment_there(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "locked"
    ask_for(root, "1.0")
    (root / "train.py").write_text(LOCKED)
    (root / ".perdure").mkdir()
    shutil.copy(workspace.project.root / ".perdure" / "local.toml", root / ".perdure")
    locked = replace(workspace, project=Project(root, "cats", "cats", {}))
    record = submit(locked, JobRequest(command=("python", "train.py"), grace_s=5.0, retries=0))
    begin(locked, record)
    until_said(record, 1)
    away = moved(locked, record, "lab")
    until_said(away, 2)
    lock = root / "uv.lock"
    text = lock.read_text()
    lock.write_text(text + "\n")
    interrupt(away.folder, reason="test")
    until_gone(away)
    with pytest.raises(UsageError, match="the lock has changed since"):
        relocate(locked, away, "local", silent)
    lock.write_text(text)
    back = relocate(locked, away, "local", silent)
    resume(locked, back)
    assert until_gone(back).state is State.SUCCEEDED
    prefixes = [record.environment.prefix, away.environment.prefix, record.environment.prefix]
    assert [said(back, number) for number in (1, 2, 3)] == [f"1.0 {each}" for each in prefixes]
    assert str(away.environment.prefix).startswith(lab(locked).place.root)


def said(record: JobRecord, attempt: int) -> str:
    """Return the first line of what an attempt has printed, "" where it has said nothing."""
    file = folders.log_path(record.folder, attempt)
    return next(iter(file.read_text().splitlines()), "") if file.exists() else ""


def until_said(record: JobRecord, attempt: int) -> None:
    until(lambda: folders.is_alive(record.folder) and said(record, attempt))


def in_images(workspace: Workspace, line: str) -> Workspace:
    """Return the workspace with a cluster whose jobs run in images, after that line."""
    with (workspace.project.root / ".perdure" / "local.toml").open("a") as file:
        file.write(f'engine = "apptainer"\nlines = ["{line}"]\n')
    return with_settings(workspace, SlurmSettings(engine="apptainer", lines=(line,)))


@pytest.mark.long
def test_the_image_is_brought_there_and_only_the_nodes_have_what_runs_it(
    modern_engine: RealEngine,
    workspace: Workspace,
    apptainer: Path,
    cluster_image: ImageUsed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = in_images(workspace, f"export PATH={apptainer}:$PATH")
    script = "import os, sys; print(sys.prefix, os.environ['SAID'], os.environ['SLURMD_NODENAME'])"
    record = recorded(there, "python", "-c", script)
    assert record.environment.image == cluster_image
    begin(there, record)
    assert until_gone(record).state is State.SUCCEEDED
    log = lab(there).logs(Handle("lab", record.job, record.folder)).decode()
    assert log.startswith("/usr it's $(x) node")
    image = Path(lab(there).place.root) / FOLDER / file_name(cluster_image)
    assert image.is_file()
    assert [*(workspace.project.root / FOLDER).rglob("*.sqfs")] == []
    # The engine has served: it is there for a job begun anew as well.
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/at/all")
    again = rerun(there, record)
    begin(there, again)
    assert until_gone(again).state is State.SUCCEEDED
    assert again.environment.image == cluster_image
    # What runs a command beside a job comes along with the image, and finds nothing on gpu1's PATH.
    done = lab(there).run(again, ("true",), stdin=b"", timeout_s=60, on_line=lambda line: None)
    assert (done.returncode, b"neither `apptainer` nor" in done.stderr) == (127, True)
