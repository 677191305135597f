"""Jobs of a real Slurm in an image, by the real Apptainer on its nodes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from perdure.drill.report import lines
from perdure.drill.session import DrillOptions, run_drill
from perdure.errors import EngineUnreachable, UsageError
from perdure.jobs.control import interrupt, kill
from perdure.jobs.launch import JobRequest, begin, rerun, resume, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.relocate import relocate
from perdure.jobs.workspace import Workspace
from perdure.model.job import ImageUsed, JobRecord, Resources, State
from perdure.model.report import silent
from perdure.model.settings import SlurmSettings
from perdure.targets import slurm_queue
from perdure.targets.registry import open_target
from tests.engines.slurm import Cluster
from tests.targets.apptainer_project import (
    apptainer_workspace,
    beside,
    file_of,
    mounting,
)
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

#: Says what a command sees.
LOOK = """\
import json, os, pathlib, sys
folder, home = pathlib.Path("data").resolve(), pathlib.Path.home()
(home / "kept").write_text("x")
read = [(folder / name).read_text() for name in ("cats", "sets/cats")]
print(json.dumps([dict(os.environ), read, sys.prefix, str(home), os.getcwd()]))
"""
HOSTILE = 'it\'s $(id) `q` \\ "x"\n\u00e9 , : = '


@pytest.fixture(autouse=True)
def unknown_queue() -> None:
    """Forget what another test's cluster said."""
    slurm_queue.QUEUE.forget()


@pytest.fixture
def workspace(apptainer: Path, cluster_image: ImageUsed, tmp_path: Path) -> Workspace:
    return apptainer_workspace(tmp_path / "a 'project$(x)%j, \n\u00e9")


@pytest.fixture
def undisturbed(tmp_path: Path) -> Workspace:
    """Return the same project, with no image and on this machine's own Python."""
    return slurm_workspace(tmp_path / "plain")


def command(workspace: Workspace, *words: str, **settings: object) -> JobRecord:
    """Return a command as a job that was submitted."""
    given = {"grace_s": 5.0, "retries": 0, "seed": 1, "target": "lab", **settings}
    return submit(workspace, JobRequest(command=words, **given))  # type: ignore[arg-type]


def printed(record: JobRecord, attempt: int = 1) -> str:
    return (record.folder / "logs" / f"{attempt:06d}.log").read_text()


def finished(record: JobRecord, undisturbed: Workspace, steps: str, attempts: int) -> None:
    status = until_gone(record)
    assert (status.state, status.attempt) == (State.SUCCEEDED, attempts)
    assert digest(record) == expected(undisturbed.project, steps)


def test_a_job_runs_in_the_image_and_comes_to_what_it_comes_to_anywhere(
    workspace: Workspace, undisturbed: Workspace, cluster_image: ImageUsed
) -> None:
    record = started(workspace, "20", "0")
    assert record.environment.image == cluster_image
    finished(record, undisturbed, "20", attempts=1)
    assert printed(record).startswith("node")
    assert file_of(record).is_file()


@pytest.mark.long
def test_what_a_command_in_the_image_sees(workspace: Workspace, tmp_path: Path) -> None:
    """The job's variables as they are, none of the cluster's own; the data wherever that is."""
    outside = tmp_path / "sets, of data"
    outside.mkdir()
    (outside / "cats").write_text("meow")
    data = workspace.project.root / "data"
    data.mkdir()
    (data / "cats").symlink_to(outside / "cats")
    (data / "sets").symlink_to(f"../../{outside.name}")
    record = command(
        workspace, "python", "-c", LOOK, environment={"GIVEN": HOSTILE, "SAID": "", "LONE": "1"}
    )
    os.environ["NOT_FOR_IT"] = "1"
    try:
        begin(workspace, record)
    finally:
        del os.environ["NOT_FOR_IT"]
    assert until_gone(record).state is State.SUCCEEDED, printed(record)
    variables, read, prefix, home, cwd = json.loads(printed(record))
    assert (variables["GIVEN"], variables["SAID"], variables["LONE"]) == (HOSTILE, "", "1")
    assert "NOT_FOR_IT" not in variables
    assert variables["SLURM_JOB_ID"].isdecimal()
    assert variables["PYTHONPATH"] == f"{cwd}/src:{cwd}"
    assert (read, prefix, home) == (["meow", "meow"], "/usr", "/home/perdure")
    assert HOSTILE not in (record.folder / "attempts" / "000001.jsonl").read_text()
    assert (workspace.project.root / ".perdure" / "home" / "kept").is_file()


@pytest.mark.long
def test_preempted_it_saves_waits_and_goes_on_in_the_image(
    workspace: Workspace, undisturbed: Workspace, slurm: Cluster
) -> None:
    spot = with_settings(workspace, SlurmSettings("spot", engine="apptainer"))
    record = started(spot, "100", "0.1", resources=Resources(cpus=4))
    until_step(record)
    words = ("sbatch", "--parsable", "--partition=urgent", "--nodes=4", "--exclusive")
    urgent = slurm.ask(*words, "--output=/dev/null", "--wrap=sleep 600")
    assert until_state(record, State.QUEUED).durable_step
    until(lambda: read_status(record.folder).reason in ("BeginTime", "Resources", "Priority"))
    slurm.ask("scancel", urgent)
    finished(record, undisturbed, "100", attempts=2)
    assert '"reason": "SIGTERM"' in (record.folder / "attempts" / "000001.jsonl").read_text()


@pytest.mark.long
def test_a_touched_file_and_scancel_cost_a_turn_and_the_image_is_the_same(
    workspace: Workspace,
    undisturbed: Workspace,
    slurm: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = started(workspace, "100", "0.1")
    made = file_of(record).stat()
    until_step(record)
    (record.folder / "PREEMPT").touch()
    until_step(record, attempt=2, patience_s=200)
    number = next(each for each, _, comment, _ in slurm.jobs() if comment.endswith(record.job))
    slurm.ask("scancel", number)
    assert until_gone(record).state is State.INTERRUPTED
    # No engine is needed any more: the image is where the nodes see it.
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/at/all")
    plain = with_settings(workspace, SlurmSettings())
    resume(plain, record)
    finished(record, undisturbed, "100", attempts=3)
    again = rerun(workspace, record)
    assert again.environment == record.environment
    begin(workspace, again)
    finished(again, undisturbed, "100", attempts=1)
    now = file_of(again).stat()
    assert (now.st_ino, now.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)


@pytest.mark.long
def test_an_apptainer_that_is_killed_is_started_again_and_leaves_nothing(
    workspace: Workspace, undisturbed: Workspace
) -> None:
    # With what mounts it beside it, which does not end of itself.
    mounted = SlurmSettings(lines=("export APPTAINER_UNSQUASH=0",), engine="apptainer")
    before = mounting()
    record = started(with_settings(workspace, mounted), "100", "0.1")
    until_step(record, 5)
    runtime, *_ = sorted(mounting() - before)
    os.kill(runtime, signal.SIGKILL)
    status = until_gone(record)
    assert (status.state, status.attempt) == (State.SUCCEEDED, 2)
    assert digest(record) == expected(undisturbed.project, "100")
    until(lambda: mounting() <= before)


@pytest.mark.long
def test_killed_it_leaves_nothing(workspace: Workspace) -> None:
    before = mounting()
    script = "import signal, time; signal.signal(15, lambda *_: None); time.sleep(600)"
    record = command(workspace, "python", "-c", f"print('begun', flush=True); {script}")
    begin(workspace, record)
    until(lambda: (record.folder / "logs" / "000001.log").is_file() and "begun" in printed(record))
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED
    until(lambda: beside(record) == [])
    until(lambda: mounting() <= before)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_drill_in_the_image_is_bit_exact(workspace: Workspace, slurm: Cluster) -> None:
    options = DrillOptions("train", arguments=("25", "0.01"), runs=3, seed=5, target="lab")
    found = run_drill(workspace, options, silent)
    assert found.passed, "\n".join(lines(found))
    assert any(run.supervised for run in found.runs)
    assert slurm.jobs() == []


@pytest.mark.long
def test_a_command_beside_a_job_is_in_its_image(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    record = command(workspace, "python", "-c", "import time; time.sleep(600)")
    begin(workspace, record)
    until_state(record, State.RUNNING)
    target = open_target("lab", workspace.project, workspace.settings)
    script = "echo $HOME $SLURM_JOB_ID $SAID; exit 7"
    assert target.exec(record, ("sh", "-c", script)) == 7
    home, number, *said = capfd.readouterr().out.split()
    assert (home, number.isdecimal(), said) == ("/home/perdure", True, ["it's", "$(x)"])
    assert kill(record.folder, timeout_s=120) == "confirmed"


@pytest.mark.long
def test_a_node_without_the_program_says_what_is_missing(
    workspace: Workspace, apptainer: Path
) -> None:
    (apptainer / "apptainer").rename(apptainer / "hidden")
    record = started(workspace, "20", "0")
    status = until_gone(record)
    assert (status.state, status.attempt) == (State.FAILED, 1)
    assert "neither `apptainer` nor `singularity` is on the PATH of `node" in printed(record)
    # By its former name, and where only the script has it, which runs on the node.
    (apptainer / "old name").mkdir()
    (apptainer / "hidden").rename(apptainer / "old name" / "singularity")
    settings = SlurmSettings(lines=(f"PATH='{apptainer}/old name':$PATH",), engine="apptainer")
    again = started(with_settings(workspace, settings), "20", "0")
    assert until_gone(again).state is State.SUCCEEDED, printed(again)


def test_what_cannot_be_in_an_image_is_refused_before_anything_is_made(
    slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = apptainer_workspace(tmp_path / "cats")
    os.chown(workspace.project.root, 1000, 1000)
    with pytest.raises(UsageError, match="`--pegged`: jobs on `lab` have their code from"):
        submit(workspace, JobRequest("train", target="lab", pegged=True))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/at/all")
    with pytest.raises(EngineUnreachable) as caught:
        submit(workspace, JobRequest("train", ("1", "0"), target="lab"))
    assert 'images for `lab` are built here: start Docker or Podman; `engine = "process"`' in str(
        caught.value.hint
    )
    assert [*workspace.project.results.glob("*")] == []


@pytest.mark.long
def test_a_job_in_a_container_goes_on_in_the_same_image_on_a_node(
    workspace: Workspace, undisturbed: Workspace, cluster_image: ImageUsed
) -> None:
    request = JobRequest("train", ("100", "0.1"), seed=7, grace_s=10.0, retries=0, target="docker")
    record = submit(workspace, request)
    begin(workspace, record)
    until_step(record)
    interrupt(record.folder, reason="test")
    assert until_gone(record).state is State.INTERRUPTED
    # The container's user is another one than whoever runs these tests, as a person's would not be.
    for path in (record.folder, *record.folder.rglob("*")):
        os.chown(path, os.getuid(), os.getgid())
    away = relocate(workspace, record, "lab", silent)
    resume(workspace, away)
    finished(away, undisturbed, "100", attempts=2)
    assert away.environment.image == cluster_image
    assert "attempt 2 goes on from step" in printed(away, 2)
    assert "\nnode" in printed(away, 2)
