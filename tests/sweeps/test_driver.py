"""Real drivers with real jobs: what they come to, and what is survived."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt, kill
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.sweeps.control import drive, extend, go_on, retry, stop
from perdure.sweeps.holding import is_driven, last_word
from perdure.sweeps.orphans import is_orphaned
from perdure.sweeps.standing import failed_attempts, standing
from tests.jobs.projects import FOREVER, alive, until_state
from tests.sweeps.conftest import kill_driver
from tests.sweeps.sweeping import driven, over, swept
from tests.waiting import until


def job(workspace: Workspace, number: int) -> Path:
    return workspace.project.results / f"sweep-{number:04d}"


def test_a_sweep_runs_all_its_trials_as_ordinary_jobs(workspace: Workspace) -> None:
    folder = driven(workspace, "x=a,b", "seed=3..4", arguments=("4",))
    found = over(workspace, folder)
    assert found.over
    assert found.states == {State.SUCCEEDED: 4}
    assert not found.orphaned
    record = folders.read_record(job(workspace, 3))
    assert (record.sweep, record.trial, record.seed) == ("sweep", 3, 3)
    assert record.arguments == ("4", "--x", "b")
    assert [dict(trial.values) for trial in found.trials][2] == {"x": "b", "seed": "3"}
    names = [event.name for event in folders.read_events(record.folder, 1)]
    assert names[0] == "started"
    assert names[-2:] == ["exited", "ended"]
    assert "done at 4" in folders.log_path(record.folder, 1).read_text()
    assert not folders.is_alive(record.folder)


def test_all_trials_run_the_code_as_it_was_submitted(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a,b", arguments=("4",))
    (workspace.project.root / "train.py").write_text("raise SystemExit(9)")
    drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 2}


def test_no_more_run_than_was_said(workspace: Workspace) -> None:
    driven(workspace, "x=0..5", arguments=(FOREVER,), max_running=2)
    for number in (1, 2):
        until(lambda: read_status(job(workspace, number)).state is State.RUNNING)  # noqa: B023
    assert folders.attempts(job(workspace, 3)) == []


def test_a_trial_is_killed_before_it_begins(workspace: Workspace) -> None:
    folder = driven(workspace, "x=0..2", arguments=(FOREVER,), max_running=1)
    until(lambda: folders.is_job(job(workspace, 2)) and folders.attempts(job(workspace, 1)) != [])
    assert kill(job(workspace, 2), timeout_s=120) == "confirmed"
    assert kill(job(workspace, 1), timeout_s=120) == "confirmed"
    until(lambda: folders.attempts(job(workspace, 3)) != [])
    assert kill(job(workspace, 3), timeout_s=120) == "confirmed"
    assert over(workspace, folder).states == {State.CANCELLED: 3}
    assert [event.name for event in folders.read_history(job(workspace, 2))] == ["ended"]


def test_failures_are_shown_and_retried(workspace: Workspace) -> None:
    script = workspace.project.root / "train.py"
    script.write_text(
        "import os, sys\n"
        "marker = os.path.join(os.environ['PERDURE_RUN_DIR'], 'outputs', 'again')\n"
        "if sys.argv[-1] == 'b' and not os.path.exists(marker):\n"
        "    open(marker, 'w').close()\n"
        "    sys.exit('not yet')\n"
    )
    folder = driven(workspace, "x=a,b,c")
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 2, State.FAILED: 1}
    assert not found.orphaned
    bad = failed_attempts(found, frozenset({State.FAILED}))
    assert bad == {2: 1}
    retry(folder, bad)
    drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 3}
    assert folders.attempts(job(workspace, 2)) == [1, 2]


def test_a_crash_is_tried_again_as_often_as_was_said(workspace: Workspace) -> None:
    script = workspace.project.root / "train.py"
    script.write_text(
        "import os, socket, sys\n"
        "channel = socket.socket(fileno=os.dup(int(os.environ['PERDURE_CTL_FD'])))\n"
        'channel.sendall(b\'{"event": "step", "step": 1}\\n\')\n'
        "sys.exit(int(os.environ['PERDURE_ATTEMPT']) < 2)\n"
    )
    folder = driven(workspace, "x=a", retries=1)
    assert over(workspace, folder).states == {State.SUCCEEDED: 1}
    assert folders.attempts(job(workspace, 1)) == [1, 2]


def test_trials_that_are_interrupted_go_on_by_themselves(workspace: Workspace) -> None:
    folder = driven(workspace, "x=a", arguments=("300",))
    first = job(workspace, 1)
    until(lambda: first.exists() and (read_status(first).durable_step or 0) >= 3)
    interrupt(first, reason="spot")
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 1}
    assert folders.attempts(first) == [1, 2]
    assert "from step 0" not in folders.log_path(first, 2).read_text()


def test_a_trial_that_is_killed_stays_so(workspace: Workspace) -> None:
    folder = driven(workspace, "x=a,b", arguments=(FOREVER,), max_running=1)
    until(lambda: job(workspace, 1).exists() and folders.attempts(job(workspace, 1)) != [])
    assert kill(job(workspace, 1), timeout_s=120) == "confirmed"
    until(lambda: job(workspace, 2).exists() and folders.attempts(job(workspace, 2)) != [])
    assert kill(job(workspace, 2), timeout_s=120) == "confirmed"
    assert over(workspace, folder).states == {State.CANCELLED: 2}


def test_a_killed_driver_is_followed_by_one_that_goes_on(workspace: Workspace) -> None:
    folder = driven(workspace, "x=0..5", arguments=("400",), max_running=2)
    for number in (1, 2):
        until((job(workspace, number) / "attempts").exists)
        until(lambda: (read_status(job(workspace, number)).durable_step or 0) >= 3)  # noqa: B023
    pid = read_status(job(workspace, 1)).pid
    assert pid is not None
    kill_driver(folder)
    # What it ran runs on.
    assert alive(pid)
    assert is_orphaned(folder)
    assert drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 6}
    assert not alive(pid)
    assert "from step 0" not in folders.log_path(job(workspace, 1), 2).read_text()
    # Nothing was begun twice: those that ran had a second attempt, the others one.
    counts = [len(folders.attempts(job(workspace, number))) for number in range(1, 7)]
    assert counts == [2, 2, 1, 1, 1, 1]


def test_there_is_one_driver(workspace: Workspace) -> None:
    folder = driven(workspace, "x=a", arguments=(FOREVER,))
    before = last_word(folder)
    assert not drive(workspace.project, folder)
    assert last_word(folder) == before


def test_a_driver_that_is_asked_to_end_has_its_jobs_save(workspace: Workspace) -> None:
    folder = driven(workspace, "x=a,b,c", arguments=(FOREVER,), max_running=2)
    until(lambda: all((read_status(job(workspace, n)).durable_step or 0) >= 3 for n in (1, 2)))
    word = last_word(folder)
    assert word is not None
    os.kill(word.pid, signal.SIGTERM)
    until(lambda: not is_driven(folder))
    for number in (1, 2):
        status = read_status(job(workspace, number))
        assert (status.state, status.reason) == (State.INTERRUPTED, "interrupted")
    assert folders.attempts(job(workspace, 3)) == []
    # Nobody wanted it to end: the next one who looks begins another.
    assert is_orphaned(folder)


def test_a_stopped_sweep_stays_stopped_until_it_is_resumed(workspace: Workspace) -> None:
    folder = driven(workspace, "x=a,b", arguments=("500",), max_running=1)
    until(lambda: (read_status(job(workspace, 1)).durable_step or 0) >= 3)
    assert stop(folder, 60.0)
    assert read_status(job(workspace, 1)).state is State.INTERRUPTED
    assert not is_orphaned(folder)
    assert folders.attempts(job(workspace, 2)) == []
    go_on(folder)
    drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 2}


def test_a_sweep_is_extended_while_it_runs_and_after_it(workspace: Workspace) -> None:
    folder = driven(workspace, "x=a,b", arguments=("150",), max_running=1)
    extend(folder, {"x": "c"})
    drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 3}
    extend(folder, {"x": "d,e"}, max_running=2)
    assert is_orphaned(folder)
    drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 5}
    assert [trial.values["x"] for trial in found.trials] == ["a", "b", "c", "d", "e"]


def test_arguments_that_no_trial_takes_stop_it_early(workspace: Workspace) -> None:
    script = workspace.project.root / "train.py"
    script.write_text("import argparse; argparse.ArgumentParser().parse_args()")
    folder = driven(workspace, "x=0..99", max_running=1)
    found = over(workspace, folder)
    assert found.states[State.FAILED] == 3
    assert found.sweep.why.endswith("usage error (exit code 2): does `train` take `--x`?")
    assert not found.orphaned


def test_a_trial_that_somebody_resumed_is_left_to_them(workspace: Workspace) -> None:
    from perdure.jobs.launch import resume

    folder = driven(workspace, "x=a,b", arguments=("300",), max_running=1)
    until(lambda: (read_status(job(workspace, 1)).durable_step or 0) >= 3)
    stop(folder, 60.0)
    resume(workspace, folders.read_record(job(workspace, 1)))
    go_on(folder)
    drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 2}
    assert folders.attempts(job(workspace, 1)) == [1, 2]


def test_what_a_trial_leaves_running_ends_with_it(workspace: Workspace) -> None:
    script = workspace.project.root / "train.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "left = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print(left.pid, flush=True)\n"
        "os.write(1, b'')\n"
    )
    folder = driven(workspace, "x=a")
    assert over(workspace, folder).states == {State.SUCCEEDED: 1}
    pid = int(folders.log_path(job(workspace, 1), 1).read_text())
    until(lambda: not alive(pid))


def test_a_command_that_is_not_there_is_a_failure(workspace: Workspace) -> None:
    folder = swept(workspace, "x=a")
    word = workspace.project.tasks["train"].command[0]
    path = folder / "job.json"
    path.write_text(path.read_text().replace(word, "/nowhere/python"))
    drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.FAILED: 1}
    until_state(folders.read_record(job(workspace, 1)), State.FAILED)


def test_metrics_are_compared(workspace: Workspace) -> None:
    script = workspace.project.root / "train.py"
    script.write_text(
        "import json, os, sys\n"
        "folder = os.path.join(os.environ['PERDURE_RUN_DIR'], 'metrics')\n"
        "os.makedirs(folder)\n"
        "x = float(sys.argv[-1])\n"
        "rows = [{'perdure': 1, 'chain': []}]\n"
        "rows += [{'step': s, 'loss': abs(x - 2) + s, 'note': 'n'} for s in (1, 0, 2)]\n"
        "with open(os.path.join(folder, '000001.jsonl'), 'w') as file:\n"
        "    file.write(''.join(json.dumps(row) + '\\n' for row in rows))\n"
    )
    folder = driven(workspace, "x=0..4")
    found = over(workspace, folder)
    assert found.metric() == "loss"
    figures = {trial.number: trial.metrics["loss"] for trial in found.trials}
    assert (figures[3].low, figures[3].high, figures[3].last) == (0.0, 2.0, 2.0)
    # Without the index the run folders say the same.
    (folder / "ended.jsonl").unlink()
    assert standing(workspace, folder).trials == found.trials


def test_a_sweep_whose_run_folders_are_deleted_is_forgotten(workspace: Workspace) -> None:
    from perdure.jobs.clean import deletable, delete

    folder = driven(workspace, "x=a,b", arguments=("4",))
    over(workspace, folder)
    other = swept(workspace, "x=a", name="other")
    snapshot = folders.read_record(folder).code.snapshot
    assert snapshot is not None
    first, second = deletable(workspace)
    delete(workspace, [first])
    found = standing(workspace, folder)
    assert found.states == {State.SUCCEEDED: 2}
    delete(workspace, [second])
    assert not folder.exists()
    # One that has not begun is kept, and so is the code that it is to run.
    assert other.is_dir()
    assert (workspace.project.state / "snapshots" / snapshot).is_dir()
