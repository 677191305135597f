"""Folders that cannot be written, disks that are full: one clear error, and nothing half made."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import StorageError
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace, open_workspace, storing, submitting
from tests.jobs.projects import make_project, submitted

ROOT = Path(__file__).parents[2]
NOBODY = 65534

#: Submits as somebody who may not write everywhere, and prints what became of it.
SUBMIT = """\
import os, sys
from pathlib import Path
from perdure.errors import PerdureError
from perdure.jobs.launch import JobRequest, submit
from tests.jobs.projects import training
workspace = training(Path(sys.argv[1])) if sys.argv[2] == "make" else None
if workspace is None:
    from perdure.jobs.workspace import Workspace
    from perdure.model.project import Project, Task
    from perdure.model.settings import Settings
    task = Task("train", ("true",))
    workspace = Workspace(Project(Path(sys.argv[1]), "cats", "cats", {"train": task}), Settings())
if len(sys.argv) > 3:
    # What is imported later may lie where the other user cannot read.
    from perdure.hosts.machine import this_machine
    from perdure.jobs.provenance import versions
    import perdure.hosts.here, perdure.project.validate, perdure.targets.command
    import tempfile, secrets, shutil, uuid, tomllib
    this_machine(), versions()
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
try:
    print("submitted", submit(workspace, JobRequest("train")).job)
except PerdureError as error:
    print(type(error).__name__, error.exit_code, error.message, error.hint)
"""


def half_made(root: Path) -> list[str]:
    """Return what a failed submission left: drafts, and run folders without a record."""
    found = [str(path) for path in root.rglob(".tmp-*")]
    found += [str(path) for path in root.rglob(".patch-*")]
    if (root / "results").is_dir():
        folders = [path for path in (root / "results").iterdir() if path.is_dir()]
        found += [path.name for path in folders if not (path / "job.json").exists()]
    return found


def test_what_a_disk_refuses_becomes_one_error() -> None:
    with pytest.raises(StorageError) as caught, storing("the job"):
        raise OSError(errno.ENOSPC, "No space left on device", "/p/results/x")
    assert str(caught.value) == "cannot write the job `/p/results/x`: no space left on device"
    assert caught.value.hint == "perdure clean results"
    assert caught.value.exit_code == 5
    with pytest.raises(StorageError, match="cannot write the job: read-only"), storing("the job"):
        raise OSError(errno.EROFS, "Read-only file system")


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return a folder that anybody can reach, as pytest's own cannot be."""
    with tempfile.TemporaryDirectory(prefix="perdure-open-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "project"


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to become")
@pytest.mark.parametrize("refused", ["results", ".perdure", "data"])
def test_an_unwritable_folder_is_named(open_path: Path, refused: str) -> None:
    root = make_project(open_path, {"train.py": "print(1)"}).root
    for name in ("results", ".perdure", "data"):
        (root / name).mkdir()
        os.chown(root / name, NOBODY, NOBODY)
    os.chown(root / refused, 0, 0)
    answer = subprocess.run(
        [sys.executable, "-c", SUBMIT, str(root), "as it is", str(NOBODY)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(root)},
        timeout=120,
    ).stdout
    if refused == "data":
        assert answer.startswith("submitted")
        return
    what = "the job" if refused == "results" else "perdure's own folder"
    assert answer.startswith(f"StorageError 5 cannot write {what} `{root}/{refused}")
    assert "permission denied" in answer
    assert half_made(root) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("free", [0, 4096, 12288, 20480, 28672, 36864])
def test_a_full_disk_costs_the_job_and_nothing_else(small_disk: Path, free: int) -> None:
    root = make_project(small_disk / "p", {"train.py": "print(1)\n" * 900}).root
    stuffing = small_disk / "stuffing"
    with stuffing.open("wb") as file:
        while True:
            try:
                os.write(file.fileno(), b"x" * 1024)
            except OSError:
                break
        os.ftruncate(file.fileno(), file.tell() // 4096 * 4096 - free)
    argv = [sys.executable, "-c", SUBMIT, str(root), "as it is"]
    answer = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=120).stdout
    if free <= 20480:  # more, and it may just do
        own = "StorageError 5 cannot write perdure's own folder"
        assert answer.startswith(("StorageError 5 cannot write the job", own))
        assert "no space left on device" in answer
        assert "perdure clean results" in answer
    assert half_made(root) == []
    stuffing.unlink()
    answer = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=120).stdout
    assert answer.startswith("submitted")
    assert half_made(root) == []


def test_a_limit_on_the_size_of_files_costs_the_job_and_nothing_else(root: Path) -> None:
    project = make_project(root, {"train.py": "x" * 5000})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    argv = [sys.executable, "-c", SUBMIT, str(project.root), "as it is"]
    answer = subprocess.run(
        argv, capture_output=True, text=True, cwd=ROOT, preexec_fn=limit, timeout=60
    ).stdout
    assert answer.startswith("StorageError 5 cannot write the job")
    assert "file too large" in answer
    assert half_made(root) == []


def test_a_submission_that_is_interrupted_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.jobs import folder as folders

    def interrupted(record: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "write_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit(workspace, JobRequest("train"))
    assert list(workspace.project.results.iterdir()) == []
    assert half_made(workspace.project.root) == []


def test_results_that_are_a_file_are_one_clear_error(workspace: Workspace) -> None:
    workspace.project.results.write_text("")
    with pytest.raises(StorageError, match="cannot write the job"):
        submitted(workspace, "1")


def test_who_submits_keeps_out_who_cleans_and_not_each_other(workspace: Workspace) -> None:
    with submitting(workspace.project), submitting(workspace.project):
        assert (workspace.project.state / ".gitignore").read_text() == "*\n"


def test_a_workspace_is_opened_from_anywhere_inside(root: Path) -> None:
    project = make_project(root, {"src/cats/__init__.py": ""})
    with (root / "pyproject.toml").open("a") as file:
        file.write('format = 1\npackage = "cats"\n')
    found = open_workspace(root / "src" / "cats")
    assert found.project.root == project.root
    assert found.settings.indexes == {}
