"""Run folders and code to and from a real host, and what is deleted there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from perdure.errors import ConflictError
from perdure.moving import transport
from perdure.moving.clean import doomed_there
from perdure.moving.far import Far
from perdure.moving.selection import select, select_code, select_results
from tests.engines.hosts import Hosts
from tests.moving.trees import Project, content, pull, push, why


def test_code_is_what_is_listed(project: Project, far: Far, folder: Path) -> None:
    (project.root / "src").mkdir()
    (project.root / "src" / "a file.py").write_text("a")
    (project.root / "notes.txt").write_text("ignored")
    code = select_code(project.root, {"src/a file.py"}, lambda paths: {"src/built.so"} & {*paths})
    push(project, far, code)
    assert content(folder) == {"src": None, "src/a file.py": b"a"}
    for name in ("built.so", "new.py"):
        (folder / "src" / name).write_text(name)
    (folder / "data").mkdir()
    (folder / "data" / "x").write_text("no code")
    pulled = pull(project, far, code)
    assert pulled.files == 1
    assert why(pulled.skipped) == {"ignored by git here": 1, "unchanged": 1}
    assert (project.root / "src" / "new.py").read_text() == "new.py"


def job(folder: Path, name: str, rows: str = "1\n") -> Path:
    made = folder / "results" / name
    for inner in ("logs", "metrics", "outputs", "checkpoints/g000001-s0000000001"):
        (made / inner).mkdir(parents=True, exist_ok=True)
    (made / "job.json").write_text("{}")
    (made / "supervisor.lock").write_text("")
    (made / "witness.json").write_text("{}")
    (made / "logs" / "000001.log").write_text(rows)
    (made / "outputs" / "figure.png").write_text("png")
    (made / "checkpoints" / "g000001-s0000000001" / "meta.json").write_text("{}")
    return made


def test_results_come_without_checkpoints_unless_asked(
    project: Project, far: Far, folder: Path
) -> None:
    job(folder, "brave")
    job(folder, "calm")
    pulled = pull(project, far, select_results(project.root, jobs=["brave"]))
    assert pulled.files == 3
    assert why(pulled.skipped) == {"checkpoints (`--checkpoints` moves them)": 1}
    assert set(content(project.root / "results" / "brave")) >= {"job.json", "outputs/figure.png"}
    assert not (project.root / "results" / "brave" / "supervisor.lock").exists()
    assert not (project.root / "results" / "calm").exists()
    pull(project, far, select_results(project.root, checkpoints=True))
    assert (project.root / "results/calm/checkpoints/g000001-s0000000001/meta.json").is_file()


def test_a_log_that_has_grown_displaces_nothing(project: Project, far: Far, folder: Path) -> None:
    job(folder, "brave", rows="1\n")
    mirrored = project.root / "results" / "brave" / "logs"
    mirrored.mkdir(parents=True)
    (mirrored / "000001.log").write_text("1\n")
    job(folder, "brave", rows="1\n2\n3\n")
    pulled = pull(project, far, select_results(project.root))
    assert pulled.kept == ()
    assert (mirrored / "000001.log").read_text() == "1\n2\n3\n"


def test_what_a_job_has_there_is_never_replaced(project: Project, far: Far, folder: Path) -> None:
    job(folder, "brave", rows="newer, there\n")
    job(project.root, "brave", rows="older\n")
    job(project.root, "calm")
    (project.root / "results" / "calm" / "PREEMPT").touch()
    pushed = push(project, far, select_results(project.root))
    assert why(pushed.skipped)["there already, and a job's own there"] >= 1
    assert (folder / "results/brave/logs/000001.log").read_text() == "newer, there\n"
    assert (folder / "results/calm/job.json").is_file()
    assert not (folder / "results/calm/PREEMPT").exists()


def test_a_checkpoint_that_is_gone_meanwhile_is_left_out_whole(
    project: Project, far: Far, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(folder, "brave") / "checkpoints" / "g000001-s0000000001"
    (made / "state.safetensors").write_bytes(b"tensors")
    real = transport.to_here

    def deleting(*given: object) -> int:
        (made / "state.safetensors").unlink()
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("perdure.moving.pull.to_here", deleting)
    pulled = pull(project, far, select_results(project.root, checkpoints=True))
    assert why(pulled.skipped) == {"gone there meanwhile": 2}
    assert list((project.root / "results/brave/checkpoints").iterdir()) == []
    assert (project.root / "results/brave/job.json").is_file()


def test_cleaning_there_leaves_what_runs(
    project: Project, far: Far, folder: Path, hosts_here: Hosts
) -> None:
    job(folder, "brave")
    held = job(folder, "it's running") / "supervisor.lock"
    doomed = doomed_there(far, select_results(project.root), "gpu1", lambda name, newest: True)
    assert doomed.names == ("brave", "it's running")
    holder = subprocess.Popen(hosts_here.command("gpu1", ["flock", str(held), "sleep", "60"]))
    try:
        while subprocess.run(["flock", "-n", str(held), "true"]).returncode == 0:
            pass
        assert doomed.delete() == ("it's running",)
    finally:
        holder.kill()
        holder.wait()
    assert [path.name for path in (folder / "results").iterdir()] == ["it's running"]


def test_cleaning_does_not_follow_a_link(project: Project, far: Far, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "everybody's").mkdir()
    (folder / "data").symlink_to(folder / "everybody's")
    with pytest.raises(ConflictError, match="is a link"):
        doomed_there(far, select("data", project.root), "gpu1", lambda name, newest: True)
