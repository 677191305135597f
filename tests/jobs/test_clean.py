from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import ConflictError
from perdure.jobs.clean import Deletable, deletable, delete, size_of
from perdure.jobs.launch import start
from perdure.jobs.snapshot import snapshot_folder
from perdure.jobs.workspace import Workspace, submitting
from perdure.model.job import JobRecord
from tests.jobs.projects import FOREVER, finished, submitted, until_step, write_events

ROOT = Path(__file__).parents[2]


def done(workspace: Workspace, name: str, state: str = "SUCCEEDED") -> JobRecord:
    record = submitted(workspace, "1", name=name)
    ended = {"t": 2.0, "event": "ended", "state": state, "reason": "", "code": 0}
    write_events(record.folder, 1, [{"t": 1.0, "event": "started"}, ended])
    return record


def names(found: list[Deletable]) -> list[str]:
    return [item.folder.name for item in found]


def test_what_has_ended_may_go(workspace: Workspace) -> None:
    for name, state in (("a", "SUCCEEDED"), ("b", "FAILED"), ("c", "CANCELLED")):
        done(workspace, name, state)
    done(workspace, "d", "INTERRUPTED")
    submitted(workspace, "1", name="e")
    assert names(deletable(workspace)) == ["a", "b", "c"]
    assert names(deletable(workspace, ["d", "e"])) == ["d", "e"]


def test_a_running_job_never_goes(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    start(workspace, record)
    status = until_step(record)
    assert deletable(workspace) == []
    with pytest.raises(ConflictError, match="is running"):
        deletable(workspace, [record.job])
    reports: list[str] = []

    def report(message: str, *, done: int | None = None, total: int | None = None) -> None:
        reports.append(message)

    assert delete(workspace, [Deletable(status, 1)], report=report).jobs == ()
    assert reports[-1] == f"warning: job `{record.job}` is running; it is left"
    assert (record.folder / "job.json").exists()


def test_sizes_are_what_the_disk_gives_back(workspace: Workspace) -> None:
    record = done(workspace, "a")
    (record.folder / "checkpoints").mkdir()
    (record.folder / "checkpoints" / "state").write_bytes(b"x" * 300_000)
    (record.folder / "checkpoints" / "linked").hardlink_to(record.folder / "checkpoints" / "state")
    (record.folder / "outputs" / "link").symlink_to("/usr")
    assert 300_000 <= deletable(workspace)[0].bytes < 400_000
    assert size_of(workspace.project.root / "missing") == 0


def test_snapshots_go_with_the_last_job_that_needs_them(workspace: Workspace) -> None:
    first, second = done(workspace, "a"), done(workspace, "b")
    (workspace.project.root / "train.py").write_text("edited")
    other = done(workspace, "c")
    assert first.code.snapshot == second.code.snapshot is not None
    assert delete(workspace, deletable(workspace, ["a"])).snapshots == ()
    cleaned = delete(workspace, deletable(workspace, ["b"]))
    assert cleaned.jobs == ("b",)
    assert cleaned.snapshots == (first.code.snapshot,)
    assert other.code.snapshot is not None
    assert snapshot_folder(workspace.project, other.code.snapshot).is_dir()
    objects = list((workspace.project.state / "objects").glob("??/*"))
    assert len(objects) == other.code.files
    assert names(deletable(workspace)) == ["c"]


def test_environments_go_save_the_present_one(workspace: Workspace) -> None:
    import hashlib

    lock = workspace.project.root / "uv.lock"
    lock.write_text("version = 1")
    present = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    base = workspace.project.state / "environments"
    for name in (f"{present}-cpu", "0000000000000000-cpu", "1111111111111111-default"):
        (base / name / "bin").mkdir(parents=True)
        (base / f"{name}.lock").touch()
    record = submitted(workspace, "1", name="a")
    content = json.loads((record.folder / "job.json").read_text())
    content["environment"]["prefix"] = str(base / "1111111111111111-default")
    (record.folder / "job.json").write_text(json.dumps(content))
    cleaned = delete(workspace, [])
    assert cleaned.environments == ("0000000000000000-cpu",)
    left = {f"{present}-cpu", "1111111111111111-default"}
    assert {path.name for path in base.iterdir()} == left | {f"{name}.lock" for name in left}


def test_a_newer_job_keeps_all_that_it_might_need(workspace: Workspace) -> None:
    record = done(workspace, "a")
    (done(workspace, "b").folder / "job.json").write_text('{"format": 2}')
    assert names(deletable(workspace)) == ["a"]
    cleaned = delete(workspace, deletable(workspace))
    assert (cleaned.jobs, cleaned.snapshots) == (("a",), ())
    assert record.code.snapshot is not None
    assert snapshot_folder(workspace.project, record.code.snapshot).is_dir()
    assert (workspace.project.results / "b").is_dir()


def test_what_a_killed_process_left_half_made_goes(workspace: Workspace) -> None:
    done(workspace, "a")
    results, state = workspace.project.results, workspace.project.state
    (results / ".trash-1" / "checkpoints").mkdir(parents=True)
    (results / "half-made" / "outputs").mkdir(parents=True)
    (results / "half-made" / "code.json").write_text("{}")
    (results / "plots").mkdir()
    (results / "mine").mkdir()
    (results / "mine" / "plot.png").write_text("")
    (state / "snapshots" / ".tmp-1").mkdir()
    (state / ".patch-1").mkdir()
    (state / "restore-1").mkdir()
    delete(workspace, [])
    assert {path.name for path in results.iterdir()} == {"a", "plots", "mine"}
    assert list(state.rglob(".tmp-*")) == []
    assert not list(state.glob(".patch-*")) + list(state.glob("restore-*"))


def test_nothing_is_cleaned_while_a_job_is_submitted(workspace: Workspace) -> None:
    done(workspace, "a")
    with submitting(workspace.project), pytest.raises(ConflictError, match="being submitted"):
        delete(workspace, deletable(workspace))
    assert names(deletable(workspace)) == ["a"]


def test_cleaning_while_others_submit_breaks_no_job(workspace: Workspace) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.jobs.projects import training, submitted\n"
        "workspace = training(Path(sys.argv[1]))\n"
        "sys.stdin.readline()\n"
        "for _ in range(6): print(submitted(workspace, '1').job)\n"
    )
    argv = [sys.executable, "-c", program, str(workspace.project.root)]
    others = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    for other in others:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
    while any(other.poll() is None for other in others):
        try:
            delete(workspace, [])
        except ConflictError:
            continue
    jobs = [job for other in others for job in other.communicate(timeout=120)[0].split()]
    assert len(jobs) == len(set(jobs)) == 12
    from perdure.jobs.folder import read_record

    for job in jobs[::4]:
        record = read_record(workspace.project.results / job)
        assert finished(workspace, record).state.value == "SUCCEEDED"
