"""Jobs with the names of a sweep's trials that are none of its own, and trials that were moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perdure.cli.commands.recover import belongs
from perdure.errors import ConflictError
from perdure.jobs import custody
from perdure.jobs import folder as folders
from perdure.jobs.control import interrupt
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.ledger import statuses
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.sweeps.control import drive, go_on
from perdure.sweeps.holding import is_driven
from perdure.sweeps.ownership import in_the_way, trial_told
from perdure.sweeps.record import names_of
from perdure.sweeps.standing import standing
from tests.jobs.projects import finished, submitted
from tests.sweeps.sweeping import driven, over, swept
from tests.waiting import until


def job(workspace: Workspace, number: int) -> Path:
    return workspace.project.results / f"sweep-{number:04d}"


def stranger(workspace: Workspace, number: int, *, ran: bool = False) -> Path:
    """Return the run folder of a job of its own that was renamed to be in a trial's way."""
    made = submitted(workspace, "4", name="stranger")
    if ran:
        finished(workspace, made)
    return made.folder.rename(job(workspace, number))


@pytest.mark.parametrize("ran", [False, True])
def test_a_name_with_numbers_behind_it_that_is_used_is_no_sweeps(
    workspace: Workspace, ran: bool
) -> None:
    made = submitted(workspace, "4", name="sweep-0002")
    if ran:
        finished(workspace, made)
    with pytest.raises(ConflictError, match="jobs with names of a sweep `sweep` already"):
        swept(workspace, "x=1,2,3")
    assert names_of(workspace.project) == []
    assert swept(workspace, "x=1,2,3", name="sweep-0002-b").is_dir()


def test_a_trials_name_is_given_to_no_other_job(workspace: Workspace) -> None:
    swept(workspace, "x=1,2,3")
    with pytest.raises(ConflictError, match="a name of the sweep `sweep`'s jobs"):
        submit(workspace, JobRequest("train", ("4",), name="sweep-0002"))
    assert submit(workspace, JobRequest("train", ("4",), name="sweep-2")).job == "sweep-2"


@pytest.mark.parametrize("ran", [False, True])
def test_a_job_in_a_trials_way_is_left_alone_and_never_counted(
    workspace: Workspace, ran: bool
) -> None:
    folder = swept(workspace, "x=1,2,3", arguments=("4",))
    foreign = stranger(workspace, 2, ran=ran)
    before = {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()}
    assert drive(workspace.project, folder)
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 2, State.QUEUED: 1}
    assert [trial.number for trial in found.trials] == [1, 3]
    assert found.sweep.why == "`sweep-0002` is another job: trial 2 did not run"
    assert {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()} == before
    # Once nothing is in its way any more, it runs.
    foreign.rename(workspace.project.results / "stranger")
    go_on(folder)
    drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 3}
    assert folders.read_record(job(workspace, 2)).arguments == ("4", "--x", "2")


def test_so_is_one_that_comes_while_the_sweep_runs(workspace: Workspace, tmp_path: Path) -> None:
    go = tmp_path / "go"
    waiting = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
    (workspace.project.root / "train.py").write_text(waiting)
    folder = driven(workspace, "x=1..12", arguments=(str(go),), max_running=1)
    until((job(workspace, 1) / "attempts" / "000001.jsonl").exists)
    stranger(workspace, 12)
    go.touch()
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 11, State.QUEUED: 1}
    assert "`sweep-0012` is another job" in found.sweep.why
    assert folders.attempts(job(workspace, 12)) == []


def test_a_copy_of_a_trial_is_not_another_trial(workspace: Workspace) -> None:
    folder = swept(workspace, "x=1,2", arguments=("4",))
    assert drive(workspace.project, folder)
    assert over(workspace, folder).over
    job(workspace, 2).rename(job(workspace, 3))
    assert in_the_way("sweep", 3, job(workspace, 3)) == "`sweep-0003` is another job"
    found = {}
    for _ in range(2):
        # From the folder, and from the ledger.
        found = {status.record.job: status for status in statuses(workspace, all=True)}
        assert trial_told("sweep", found["sweep-0001"]) == 1
        assert trial_told("sweep", found["sweep-0003"]) is None
    assert belongs(found["sweep-0001"].record, ("other", "sweep"))
    assert not belongs(found["sweep-0003"].record, ("other", "sweep"))


def test_what_a_loss_of_power_left_of_a_trial_is_made_again(workspace: Workspace) -> None:
    folder = swept(workspace, "x=1,2", arguments=("4",))
    for number, left in ((1, b""), (2, b"\0" * 100)):
        (job(workspace, number) / "outputs").mkdir(parents=True)
        (job(workspace, number) / "job.json").write_bytes(left)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 2}


def moved(folder: Path, target: str) -> None:
    """Have a record say that its job is on another target, as `resume --on` does."""
    folders.write_record(replace(folders.read_record(folder), target=target))


def test_a_trial_that_was_moved_is_begun_by_whoever_moved_it(workspace: Workspace) -> None:
    folder = driven(workspace, "x=1,2,3", arguments=("101",), max_running=1)
    first = job(workspace, 1)
    until(lambda: first.exists() and (read_status(first).durable_step or 0) >= 3)
    interrupt(first, reason="moved")
    # Held while it is moved, so that the driver does not go on with it first.
    with custody.alone(first):
        until(lambda: not folders.is_alive(first))
        moved(first, "lab")
    # One that was made ahead of its time goes, too.
    until(lambda: folders.is_job(job(workspace, 3)))
    moved(job(workspace, 3), "lab")
    until(lambda: not is_driven(folder))
    found = standing(workspace, folder)
    assert found.states == {State.SUCCEEDED: 1, State.INTERRUPTED: 1, State.QUEUED: 1}
    assert "`sweep-0001` was moved to `lab`: perdure resume sweep-0001" in found.sweep.why
    assert folders.attempts(first) == [1]
    assert folders.attempts(job(workspace, 3)) == []
    # Here again, it is the sweep's again.
    moved(first, "local")
    moved(job(workspace, 3), "local")
    go_on(folder)
    assert drive(workspace.project, folder)
    assert over(workspace, folder).states == {State.SUCCEEDED: 3}
