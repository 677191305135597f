"""Jobs in real containers: what they see, whose files they leave, how they end and go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed, UsageError
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill, send_signal
from perdure.jobs.launch import JobRequest, begin, explain, rerun, resume, start
from perdure.jobs.ledger import statuses
from perdure.jobs.lifecycle import read_status
from perdure.jobs.recover import recover, recoverable
from perdure.model.job import ImageUsed, Resources, State
from perdure.model.report import silent
from perdure.targets.registry import open_target
from tests.engines.engines import RealEngine
from tests.jobs.contained import Yard, make_yard
from tests.jobs.projects import FOREVER, until_state, until_step
from tests.waiting import until


@pytest.fixture
def yard(tmp_path: Path, engine: RealEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    made = make_yard(tmp_path / "it's, a: project", engine, monkeypatch)
    yield made
    made.clear()


def test_what_a_job_sees_and_what_it_may_write(yard: Yard, tmp_path: Path) -> None:
    elsewhere = tmp_path / "big, disk"
    elsewhere.mkdir()
    (elsewhere / "images").write_text("cats")
    data = yard.workspace.project.data
    data.mkdir()
    (data / "linked").symlink_to(elsewhere)
    (data / "own").write_text("mine")
    script = """
    cat data/own data/linked/images /project/data/linked/images; echo
    for place in data/x /project/data/x data/linked/x code.py /code/x; do
        (echo no > $place) 2>/dev/null && echo "wrote $place"
    done
    echo yes > results/shared; echo yes > "$PERDURE_RUN_DIR/outputs/mine"
    pwd; id -u; echo $PERDURE_RUN_DIR; cat /code/train.py | head -n 1; echo $$
    """
    lines = yard.said(script).splitlines()
    assert lines[:4] == ["minecatscats", "/project/code", "1000", lines[3]]
    assert lines[3].startswith("/project/results/")
    assert lines[4].startswith("import json")
    results = yard.workspace.project.results
    job = next(path for path in results.iterdir() if path.is_dir())
    for path in (results / "shared", job / "outputs" / "mine", job / "attempts" / "000001.jsonl"):
        assert path.stat().st_uid == 1000
    if os.getuid() == 0:
        assert {path.stat().st_uid for path in job.rglob("*")} == {1000}
    until(lambda: yard.containers() == [])


def test_a_symlinked_data_folder_is_followed(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("found")
    yard.workspace.project.data.symlink_to(tmp_path / "there")
    assert yard.said("cat data/file /project/data/file; echo x > data/y || true").startswith(
        "foundfound"
    )
    assert not (tmp_path / "there" / "y").exists()


def test_an_edit_needs_no_build(yard: Yard) -> None:
    script = yard.workspace.project.root / "say.py"
    for word in ("first", "second"):
        script.write_text(f"print('{word}')")
        assert yard.said("python say.py") == f"{word}\n"


def test_live_is_the_working_tree(yard: Yard) -> None:
    yard.workspace.project.data.mkdir()
    os.chown(yard.workspace.project.root, 1000, 1000)
    yard.said("echo new > made.txt; echo no > data/x || true", live=True)
    root = yard.workspace.project.root
    assert (root / "made.txt").read_text() == "new\n"
    assert not (root / "data" / "x").exists()


def test_limits_reach_the_container(yard: Yard) -> None:
    resources = Resources(memory_bytes=200 << 20, shm_bytes=96 << 20, cpus=0.5)
    script = """
    df -B1 --output=size /dev/shm | tail -n 1
    cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max
    cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max
    """
    record = yard.shell(script, resources=resources)
    assert folders.read_record(record.folder).resources == resources
    yard.finished(record)
    told = (record.folder / "logs" / "000001.log").read_text().split()
    assert told == [str(96 << 20), str(200 << 20), "50000"]
    assert int(yard.said("df -B1 --output=size /dev/shm | tail -n 1")) > 1 << 30


def test_a_secret_is_passed_on_and_stands_in_no_command_line(yard: Yard) -> None:
    record = yard.shell('printf "%s|%s|%s" "$TOKEN" "$PATH" "$DOCKER_HOST"')
    given = {"TOKEN": "s3cret\nof two lines", "PATH": "/bin:/usr/bin", "DOCKER_HOST": "theirs"}
    start(yard.workspace, record, environment=given)
    until(lambda: not folders.is_alive(record.folder))
    told = (record.folder / "logs" / "000001.log").read_text()
    assert told == "s3cret\nof two lines|/bin:/usr/bin|theirs"
    assert "s3cret" not in (record.folder / "job.json").read_text()


def test_an_interrupted_job_goes_on_and_comes_to_the_same(yard: Yard) -> None:
    record = yard.submit("python", "train.py", FOREVER)
    start(yard.workspace, record)
    pid = until_step(record).pid
    assert pid is not None
    interrupt(record.folder, reason="test")
    assert until_state(record, State.INTERRUPTED).durable_step is not None
    until(lambda: not folders.is_alive(record.folder))
    resume(yard.workspace, record)
    until(lambda: read_status(record.folder).state is State.RUNNING)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED
    until(lambda: yard.containers() == [])


def test_a_training_killed_inside_is_started_again(yard: Yard) -> None:
    record = yard.submit("python", "train.py", FOREVER, retries=3)
    start(yard.workspace, record)
    pid = until_step(record).pid
    assert pid is not None
    send_signal(record.folder, pid, signal.SIGKILL)
    send_signal(record.folder, 99999, signal.SIGKILL)  # one that is gone is no error
    until(lambda: read_status(record.folder).attempt == 2)
    assert kill(record.folder, timeout_s=120) == "confirmed"


def test_a_container_killed_with_sigkill_is_lost_and_recovered(yard: Yard) -> None:
    record = yard.submit("python", "train.py", "300")
    start(yard.workspace, record)
    saved = until_step(record).durable_step
    yard.engine.docker("kill", "--signal=KILL", yard.container(record))
    until(lambda: not folders.is_alive(record.folder))
    assert read_status(record.folder).state is State.LOST
    (lost,) = recoverable(yard.workspace)
    recover(yard.workspace, lost)
    status = until_state(record, State.SUCCEEDED)
    assert (status.step, status.attempt, status.began_again) == (300, 2, False)
    assert saved == 3
    log = (record.folder / "logs" / "000002.log").read_text()
    assert log.startswith("from step 3\n")


def test_a_leftover_of_that_name_is_removed_and_noted(yard: Yard) -> None:
    record = yard.shell("true")
    words = ("run", "--pull=never", f"--name={yard.container(record)}", yard.image.id, "false")
    yard.engine.docker(*words, check=False)
    assert yard.finished(record).state is State.SUCCEEDED
    noted = (record.folder / "supervisor.log").read_text()
    assert f"container {yard.container(record)}: exited, code 1" in noted
    until(lambda: yard.containers() == [])


def test_what_the_engine_refuses_is_told_and_leaves_nothing(yard: Yard) -> None:
    record = yard.shell("true", resources=Resources(gpus="all"))
    with pytest.raises(EnvironmentFailed, match="no GPU to give") as caught:
        start(yard.workspace, record)
    assert "perdure doctor" in str(caught.value.hint)
    until(lambda: yard.containers() == [])
    assert read_status(record.folder).state is State.QUEUED
    # Submitted to be started now, it never was a job.
    with pytest.raises(EnvironmentFailed, match="no GPU to give"):
        begin(yard.workspace, record)
    assert not record.folder.exists()


def test_an_image_that_is_gone_when_the_job_is_to_begin(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.jobs import image as images

    record = yard.shell("true", name="mine")
    image = ImageUsed("perdure-tests/no-such-image:0", "", 1000, 1000)
    moved = replace(record, environment=replace(record.environment, image=image))
    # As where it is removed between the look at it and the start.
    with monkeypatch.context() as patch:
        patch.setattr(images, "restore_image", lambda *_: moved.environment)
        with pytest.raises(EnvironmentFailed, match="refused to start"):
            begin(yard.workspace, moved)
    assert statuses(yard.workspace, all=True) == []
    assert yard.said("echo again", name="mine") == "again\n"


def test_a_rerun_is_on_the_same_target_and_image(yard: Yard) -> None:
    record = yard.shell("echo $((1 + 1))", resources=Resources(cpus=1.0))
    yard.finished(record)
    again = rerun(yard.workspace, record)
    assert (again.target, again.environment.image) == ("docker", yard.image)
    assert again.resources == record.resources
    assert yard.finished(again).state is State.SUCCEEDED


def test_what_would_be_executed_is_what_is_executed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.jobs import image as images
    from perdure.jobs.launch import plan_of

    target = open_target("docker", yard.workspace.project, yard.workspace.settings)
    used = images.image_for(yard.workspace, target, None, silent)
    monkeypatch.setattr(images, "planned_image", lambda *_, **__: used)
    request = JobRequest(command=("echo", "$(x)"), seed=5, name="mine", target="docker")
    told = explain(yard.workspace, request)
    assert " run --rm " in told
    assert "'$(x)'" in told
    assert not yard.workspace.project.results.exists()
    record = yard.submit("echo", "$(x)", seed=5, name="mine", grace_s=None, retries=None)
    assert plan_of(yard.workspace, record).text().splitlines()[-1] == told.splitlines()[-1]


def test_an_engine_elsewhere_cannot_mount_what_is_here(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = yard.shell("true")
    socket = os.environ["DOCKER_HOST"]
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(EnvironmentFailed) as caught:
        start(yard.workspace, record)
    assert "127.0.0.1:9" in caught.value.message
    assert caught.value.exit_code == 4
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(EnvironmentFailed, match="no container engine answers") as caught:
        start(yard.workspace, record)
    assert "--on local" in str(caught.value.hint)
    # What runs is stopped without an engine.
    monkeypatch.setenv("DOCKER_HOST", socket)
    running = yard.submit("python", "train.py", FOREVER)
    start(yard.workspace, running)
    until_step(running)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert kill(running.folder, timeout_s=120) == "confirmed"


def test_pegged_code_is_for_images(yard: Yard) -> None:
    with pytest.raises(UsageError, match="`--pegged`") as caught:
        yard.shell("true", target="local", pegged=True)
    assert caught.value.hint == "--on docker"
    with pytest.raises(UsageError, match="one or the other"):
        yard.shell("true", pegged=True, live=True)
    with pytest.raises(UsageError, match="limits neither"):
        yard.shell("true", target="local", resources=Resources(cpus=1.0))
