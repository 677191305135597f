from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import ConflictError, MissingProgram, NewerFormatError, StorageError, UsageError
from perdure.jobs import folder as folders
from perdure.jobs.control import kill
from perdure.jobs.launch import JobRequest, begin, explain, rerun, resume, start, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.snapshot import snapshot_folder
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from tests.jobs.projects import (
    FOREVER,
    alive,
    commit_all,
    finished,
    make_project,
    shell,
    submitted,
    until_state,
    until_step,
)
from tests.waiting import until


def output(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted((folder / "logs").glob("*.log")))


def test_a_job_runs_from_its_snapshot_to_success(workspace: Workspace) -> None:
    record = submitted(workspace, "5")
    status = finished(workspace, record)
    assert (status.state, status.attempt, status.step, status.durable_step) == (
        State.SUCCEEDED,
        1,
        5,
        5,
    )
    assert output(record.folder) == "from step 0\ndone at 5\n"
    assert not status.began_again


def test_the_record_is_read_as_it_was_written(workspace: Workspace) -> None:
    record = submit(
        workspace,
        JobRequest(
            "train",
            ("--name", "a b\n$(x) '\"", ""),
            environment={"GREETING": "héllo\n"},
            name="my-job",
            watch=("aws",),
        ),
    )
    assert folders.read_record(record.folder) == record
    assert record.job == "my-job"
    assert record.argv == (sys.executable, "train.py", "--name", "a b\n$(x) '\"", "")


def test_a_seed_is_drawn_once(workspace: Workspace) -> None:
    first, second = (submit(workspace, JobRequest("train")) for _ in range(2))
    assert first.seed != second.seed
    assert folders.read_record(first.folder).seed == first.seed
    assert submit(workspace, JobRequest("train", seed=0)).seed == 0


def test_editing_changes_nothing_of_a_submitted_job(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    (workspace.project.root / "train.py").write_text("raise SystemExit('edited')")
    assert finished(workspace, record).state is State.SUCCEEDED


def test_a_live_job_runs_the_working_tree(workspace: Workspace) -> None:
    record = submit(workspace, JobRequest("train", ("1",), live=True, retries=0))
    (workspace.project.root / "train.py").write_text("import os; print('now', os.getcwd())")
    assert record.code.snapshot is None
    assert finished(workspace, record).state is State.SUCCEEDED
    assert output(record.folder) == f"now {workspace.project.root}\n"


def test_a_job_reaches_data_and_results_by_relative_paths(workspace: Workspace) -> None:
    (workspace.project.root / "data").mkdir()
    (workspace.project.root / "data" / "in").write_text("from data")
    record = shell(workspace, "cat data/in; echo out > data/out; ls results")
    assert finished(workspace, record).state is State.SUCCEEDED
    assert output(record.folder) == f"from data{record.job}\n"
    assert (workspace.project.root / "data" / "out").read_text() == "out\n"


def test_the_snapshot_wins_over_an_installed_project(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = workspace.project.root / "src" / "cats"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("where = 'snapshot'")
    installed = tmp_path / "installed" / "cats"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("where = 'editable'")
    monkeypatch.setenv("PYTHONPATH", str(installed.parent))
    command = (sys.executable, "-c", "import cats; print(cats.where)")
    record = submit(workspace, JobRequest(command=command, retries=0))
    finished(workspace, record)
    assert output(record.folder) == "snapshot\n"


def test_a_job_has_its_own_variables_and_none_of_another_job(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_RUN_DIR", "/another")
    monkeypatch.setenv("INHERITED", "yes")
    script = 'echo "$INHERITED $ADDED $ONCE"; test "$PERDURE_RUN_DIR" != /another'
    request = JobRequest(
        command=("sh", "-c", script), environment={"ADDED": "a'b c"}, retries=0, seed=1
    )
    record = submit(workspace, request)
    start(workspace, record, environment={"ONCE": "once"})
    assert until_state(record, State.SUCCEEDED, State.FAILED).state is State.SUCCEEDED
    assert output(record.folder) == "yes a'b c once\n"
    assert folders.read_record(record.folder).variables == {"ADDED": "a'b c"}


def test_python_is_the_environments(workspace: Workspace) -> None:
    record = submit(workspace, JobRequest(command=("python", "-c", "print(1)")))
    prefix = workspace.project.root / "fake env"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").write_text('#!/bin/sh\necho "the fake $VIRTUAL_ENV"\n')
    (prefix / "bin" / "python").chmod(0o755)
    environment = replace(record.environment, prefix=str(prefix), lock="0" * 64)
    record = replace(record, environment=environment)
    assert finished(workspace, record).state is State.SUCCEEDED
    assert output(record.folder) == f"the fake {prefix}\n"


def test_a_detached_job_outlives_whoever_started_it(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    pid = start(workspace, record)
    assert os.getsid(pid) == pid
    assert until_step(record).state is State.RUNNING


def test_a_second_start_of_a_running_job_is_refused(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    start(workspace, record)
    until_step(record)
    for again in (start, resume):
        with pytest.raises(ConflictError, match=r"already running \(attempt 1\)") as caught:
            again(workspace, record)
        assert caught.value.hint == f"perdure logs -f {record.job}"


def test_an_interrupted_job_goes_on(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    pid = start(workspace, record)
    until_step(record)
    os.kill(pid, signal.SIGTERM)
    before = until_state(record, State.INTERRUPTED)
    assert before.durable_step is not None
    until(lambda: not folders.is_alive(record.folder))
    resume(workspace, record)
    until(lambda: read_status(record.folder).attempt == 2)
    until_state(record, State.RUNNING)
    until(lambda: f"from step {before.durable_step}" in output(record.folder))
    assert not read_status(record.folder).began_again


def test_a_job_that_succeeded_is_not_resumed(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    finished(workspace, record)
    with pytest.raises(ConflictError, match="has succeeded already") as caught:
        resume(workspace, record)
    assert caught.value.hint == f"perdure rerun {record.job}"


def test_a_lost_job_leaves_no_stray_when_it_is_resumed(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    supervisor = start(workspace, record)
    child = until_step(record).pid
    assert child is not None
    os.kill(supervisor, signal.SIGKILL)
    lost = until_state(record, State.LOST)
    assert lost.reason == "its supervisor is gone"
    assert alive(child)
    resume(workspace, record)
    assert not alive(child)
    until_state(record, State.RUNNING)
    step = int((record.folder / "outputs" / "step").read_text())
    # Asked to save before it was stopped: nothing of what it did was lost.
    assert step > 3
    until(lambda: f"from step {step}" in output(record.folder))


def test_a_rerun_is_the_same_code_with_the_same_seed(workspace: Workspace) -> None:
    record = submitted(workspace, "4")
    finished(workspace, record)
    (workspace.project.root / "train.py").write_text("raise SystemExit('edited')")
    again = rerun(workspace, record)
    assert again.rerun_of == record.job
    assert again.job != record.job
    same = ("command", "arguments", "seed", "code", "environment", "limits")
    assert [getattr(again, name) for name in same] == [getattr(record, name) for name in same]
    assert finished(workspace, again).state is State.SUCCEEDED


def test_a_rerun_needs_no_working_tree(workspace: Workspace) -> None:
    record = submitted(workspace, "2")
    (workspace.project.root / "train.py").unlink()
    assert finished(workspace, rerun(workspace, record)).state is State.SUCCEEDED


def test_a_live_job_is_run_again_only_while_the_tree_is_the_same(workspace: Workspace) -> None:
    record = submit(workspace, JobRequest("train", ("2",), live=True, seed=1))
    again = rerun(workspace, record)
    assert again.code.snapshot == record.code.digest
    (workspace.project.root / "train.py").write_text("pass")
    with pytest.raises(UsageError, match="has changed since"):
        rerun(workspace, record)


def test_a_snapshot_that_was_written_to_is_not_run(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    assert record.code.snapshot is not None
    file = snapshot_folder(workspace.project, record.code.snapshot) / "train.py"
    file.chmod(0o644)
    file.write_text("print('another program')")
    with pytest.raises(StorageError, match=r"(?s)`train.py` in the snapshot .* was changed"):
        start(workspace, record)


def test_a_snapshot_that_is_gone_is_made_again_from_its_contents(workspace: Workspace) -> None:
    from perdure.jobs.snapshot import remove_tree

    record = submitted(workspace, "1")
    remove_tree(workspace.project.state / "snapshots")
    assert finished(workspace, record).state is State.SUCCEEDED


def test_a_snapshot_that_is_gone_for_good_is_one_clear_error(workspace: Workspace) -> None:
    from perdure.jobs.snapshot import remove_tree

    commit = commit_all(workspace.project.root)
    record = submitted(workspace, "1")
    remove_tree(workspace.project.state / "snapshots")
    remove_tree(workspace.project.state / "objects")
    with pytest.raises(StorageError, match="the snapshot of the code of") as caught:
        start(workspace, record)
    assert commit in str(caught.value.hint)


def test_what_is_not_possible_leaves_no_run_folder(workspace: Workspace) -> None:
    taken = submitted(workspace, "1", name="taken")
    requests = [
        (JobRequest("trian"), UsageError, "no task `trian`"),
        (JobRequest(command=()), UsageError, "no command"),
        (JobRequest(command=("",)), UsageError, "no command"),
        (JobRequest(command=("no-such-program",)), MissingProgram, "no program"),
        (JobRequest("train", name="taken"), ConflictError, "there is a job `taken` already"),
        (JobRequest("train", name="../out"), UsageError, "cannot name a job"),
        (JobRequest("train", grace_s=-1.0), UsageError, "0 or more"),
    ]
    for request, kind, message in requests:
        with pytest.raises(kind, match=message):
            submit(workspace, request)
    assert [path.name for path in workspace.project.results.iterdir()] == [taken.job]


def test_a_mistyped_task_is_guessed(workspace: Workspace) -> None:
    with pytest.raises(UsageError) as caught:
        submit(workspace, JobRequest("trian"))
    assert caught.value.hint == "did you mean `train`?"


def test_explaining_executes_nothing_and_writes_nothing(workspace: Workspace) -> None:
    before = sorted(workspace.project.root.rglob("*"))
    text = explain(workspace, JobRequest("train", ("--lr", "1 e"), seed=7, name="mine"))
    assert sorted(workspace.project.root.rglob("*")) == before
    assert "--seed 7 " in text
    assert text.endswith(f"-- {sys.executable} train.py --lr '1 e'")
    assert explain(workspace, JobRequest("train", seed=7)) == explain(
        workspace, JobRequest("train", seed=7)
    )


def test_what_is_explained_is_what_is_started(workspace: Workspace) -> None:
    request = JobRequest("train", ("1",), seed=7, name="mine")
    explained = explain(workspace, request)
    record = submit(workspace, request)
    from perdure.jobs.launch import plan_of

    assert plan_of(workspace, record).text() == explained


def test_a_supervisor_that_cannot_begin_says_why(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    (record.folder / "supervisor.lock").mkdir()
    with pytest.raises(StorageError, match="did not start"):
        start(workspace, record)
    (record.folder / "supervisor.lock").rmdir()


def test_a_job_that_is_refused_when_it_is_to_begin_never_was_one(workspace: Workspace) -> None:
    record = submitted(workspace, "1", name="mine")
    (record.folder / "supervisor.lock").mkdir()
    with pytest.raises(StorageError, match="did not start"):
        begin(workspace, record)
    assert not record.folder.exists()
    again = submitted(workspace, FOREVER, name="mine")
    begin(workspace, again)
    until_step(again)
    # One that runs, or has run, is nobody's to remove.
    with pytest.raises(ConflictError, match="already running"):
        begin(workspace, again)
    assert kill(again.folder, timeout_s=120) == "confirmed"
    (again.folder / "code.json").write_text("[]")
    snapshot_folder(workspace.project, str(again.code.snapshot)).rename(
        workspace.project.root / "x"
    )
    with pytest.raises(StorageError):
        begin(workspace, again)
    assert read_status(again.folder).state is State.CANCELLED


def test_a_run_folder_of_a_newer_perdure_is_refused(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    path = record.folder / "job.json"
    content = json.loads(path.read_text()) | {"format": 2, "command": {"shape": "unknown"}}
    path.write_text(json.dumps(content))
    with pytest.raises(NewerFormatError, match="newer perdure"):
        folders.read_record(record.folder)
    status = read_status(record.folder)
    assert (status.state, status.reason) == (State.UNKNOWN, "newer format")


def test_two_who_resume_at_once_start_it_once(tmp_path: Path, workspace: Workspace) -> None:
    import subprocess

    record = submitted(workspace, FOREVER)
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.jobs.projects import training\n"
        "from perdure.jobs.launch import resume\n"
        "from perdure.jobs.folder import read_record\n"
        "from perdure.errors import ConflictError\n"
        "workspace = training(Path(sys.argv[1]))\n"
        "sys.stdin.readline()\n"
        "try:\n    resume(workspace, read_record(Path(sys.argv[2])))\n"
        "except ConflictError as error:\n    print('refused', error)\n"
        "else:\n    print('started')\n"
    )
    argv = [sys.executable, "-c", program, str(workspace.project.root), str(record.folder)]
    root = Path(__file__).parents[2]
    racers = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        for _ in range(4)
    ]
    answers = [racer.communicate("go\n", timeout=120)[0] for racer in racers]
    assert sorted(answer.split()[0] for answer in answers) == ["refused"] * 3 + ["started"]
    assert folders.attempts(record.folder) in ([], [1])


def test_a_project_without_dependencies_needs_no_uv(root: Path) -> None:
    from perdure.jobs.request import needs_environment

    project = make_project(root)
    assert not needs_environment(project)
    for line in ("dependencies = ['numpy']", "optional-dependencies = {cpu = ['torch']}"):
        (root / "pyproject.toml").write_text(f'[project]\nname = "cats"\n{line}\n')
        assert needs_environment(project)
