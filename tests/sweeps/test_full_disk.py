"""A disk that is full while a sweep runs: it waits, says so, and ends complete."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import StorageError
from perdure.jobs import folder as folders
from perdure.jobs.workspace import Workspace
from perdure.model.job import State
from perdure.model.settings import Settings
from perdure.model.sweep import Search
from perdure.sweeps.control import extend
from perdure.sweeps.holding import is_driven, last_word
from perdure.sweeps.record import JOURNAL_FILE, names_of, read_sweep
from perdure.sweeps.tuner import Tuner
from tests.cli.command import is_one_error
from tests.engines.user import OrdinaryUser
from tests.jobs.projects import make_project
from tests.sweeps.conftest import end_all, kill_driver
from tests.sweeps.sweeping import driven, over, swept
from tests.sweeps.test_tuner import needs_optuna
from tests.waiting import until

#: Waits until somebody says that it may end, and then writes what it has.
TRAIN = """\
import os, sys, time
root, number = sys.argv[1], sys.argv[-1]
while not os.path.exists(os.path.join(root, "go-" + number)):
    time.sleep(0.01)
with open(os.path.join(os.environ["PERDURE_RUN_DIR"], "outputs", "x"), "wb") as file:
    file.write(b"x" * 100_000)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder):
        yield folder


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Have a folder be a file system of 4 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def workspace(disk: Path) -> Iterator[Workspace]:
    project = make_project(disk / "p", {"train.py": TRAIN}, train=f"{sys.executable} train.py")
    yield Workspace(project, Settings())
    end_all(Workspace(project, Settings()))


def stuff(disk: Path) -> Path:
    """Fill the disk to the last byte."""
    path = disk / "stuffing"
    with path.open("wb", buffering=0) as file:
        size = 4096
        while size:
            try:
                size = size if file.write(b"x" * size) == size else 0
            except OSError:
                size = 0
    return path


def waits(folder: Path) -> str:
    word = last_word(folder)
    return "" if word is None else word.waits


def test_a_full_disk_is_waited_for_and_told_of(
    workspace: Workspace, disk: Path, tmp_path: Path
) -> None:
    signs = tmp_path / "signs"
    signs.mkdir()
    folder = driven(workspace, "x=1..4", arguments=(str(signs),), max_running=1)
    first = workspace.project.results / "sweep-0001"
    until((first / "attempts" / "000001.jsonl").exists)
    stuffing = stuff(disk)
    # The first one cannot write what it has, and fails for want of space.
    (signs / "go-1").touch()
    until(lambda: "no space left" in waits(folder))
    for number in (2, 3, 4):
        (signs / f"go-{number}").touch()
    assert is_driven(folder)
    assert not list((workspace.project.results).glob("sweep-000[234]/gen-*"))
    stuffing.unlink()
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 4}
    assert (first / "outputs" / "x").stat().st_size == 100_000
    assert waits(folder) == ""


def test_a_sweep_is_submitted_or_extended_whole_or_not_at_all(
    workspace: Workspace, disk: Path
) -> None:
    folder = swept(workspace, "x=1,2", name="one")
    stuffing = stuff(disk)
    with pytest.raises(StorageError):
        swept(workspace, "x=1,2", name="two")
    with pytest.raises(StorageError):
        extend(folder, {"x": "3"})
    assert names_of(workspace.project) == ["one"]
    assert read_sweep(folder).count == 2
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    stuffing.unlink()
    assert extend(folder, {"x": "3"}).count == 3


TASKS = """\
[project]
name = "cats"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.tasks]
train = "sh train.sh"
"""


def status(as_user: OrdinaryUser, root: Path) -> dict[str, object]:
    told = as_user.perdure("sweep", "status", "one", "--json", cwd=root)
    assert told.code == 0, told
    found: dict[str, object] = json.loads(told.out)
    return found


def made(as_user: OrdinaryUser) -> Path:
    """Return a person's project, whose trials wait for a file `go`."""
    root = as_user.home / "p"
    root.mkdir()
    (root / "pyproject.toml").write_text(TASKS)
    (root / "train.sh").write_text(f"while [ ! -e '{root}/go' ]; do sleep 0.05; done\n")
    return as_user.give(root)


def test_without_a_place_for_its_jobs_a_sweep_is_not_submitted(as_user: OrdinaryUser) -> None:
    root = made(as_user)
    results = root / "results"
    results.mkdir()
    as_user.give(root)
    results.chmod(0o555)
    refused = as_user.perdure("sweep", "train", "x=1..12", cwd=root)
    assert is_one_error(refused, 5, "cannot write the jobs of a sweep", "permission denied")
    assert not (root / ".perdure" / "sweeps").exists()
    assert list(results.iterdir()) == []


def test_what_a_person_may_not_write_is_one_error_and_waited_for(as_user: OrdinaryUser) -> None:
    """A project that becomes read-only under a sweep, and is writable again later."""
    root = made(as_user)
    words = ("sweep", "train", "x=1..12", "--max-running", "1", "--name")
    root.chmod(0o555)
    assert is_one_error(as_user.perdure(*words, "none", cwd=root), 5, "permission denied")
    root.chmod(0o755)
    assert not (root / ".perdure" / "sweeps").exists()
    begun = as_user.perdure(*words, "one", cwd=root)
    assert begun.code == 0, begun
    results = root / "results"
    until((results / "one-0001" / "attempts" / "000001.jsonl").exists)
    # Some run folders are there already; for the others there is no place.
    results.chmod(0o555)
    (root / "go").touch()
    until(lambda: "permission denied" in str(status(as_user, root)["waits"]))
    # Whoever looks while nothing can be written sees what there is; nothing can be asked for.
    sweeps = root / ".perdure" / "sweeps"
    kill_driver(sweeps / "one")
    for path in (sweeps / "one", sweeps):
        path.chmod(0o555)
    told = as_user.perdure("sweep", "status", "one", cwd=root)
    assert (told.code, "succeeded" in told.out) == (0, True), told
    refused = as_user.perdure("sweep", "extend", "one", "x=4", cwd=root)
    assert is_one_error(refused, 5, "permission denied")
    for path in (sweeps, sweeps / "one", results):
        path.chmod(0o755)
    until(lambda: status(as_user, root)["states"] == {"SUCCEEDED": 12})
    assert as_user.of_others(root) == [root / "go"]


#: Waits for a file `go`, and then writes what it has, which takes more than the disk may have.
KEEPING = """\
while [ ! -e "$1/go" ]; do sleep 0.05; done
head -c 100000 /dev/zero >"$PERDURE_RUN_DIR/outputs/x"
"""


def test_a_persons_full_disk_costs_them_no_trial(as_user: OrdinaryUser) -> None:
    """The project with all that perdure keeps of it is on the disk that is full, and is theirs."""
    root = as_user.home / "small"
    root.mkdir()
    with mounted(root):
        (root / "pyproject.toml").write_text(TASKS)
        (root / "train.sh").write_text(KEEPING)
        as_user.give(root)
        words = ("--name", "one", "--max-running", "1", "train", "x=1..6")
        begun = as_user.perdure("sweep", *words, "--", str(as_user.home), cwd=root)
        assert begun.code == 0, begun
        until((root / "results" / "one-0001" / "attempts" / "000001.jsonl").exists)
        stuffing = stuff(root)
        (as_user.home / "go").touch()
        until(lambda: "no space left" in str(status(as_user, root)["waits"]))
        told = as_user.perdure("sweep", "status", "one", cwd=root)
        assert (told.code, "perdure clean" in told.err) == (0, True), told
        refused = as_user.perdure("sweep", "extend", "one", "x=7", cwd=root)
        assert is_one_error(refused, 5, "no space left")
        stuffing.unlink()
        until(lambda: status(as_user, root)["states"] == {"SUCCEEDED": 6})
        sizes = {each.stat().st_size for each in root.glob("results/one-*/outputs/x")}
        assert sizes == {100_000}
        assert as_user.of_others(root) == []


#: Logs a loss that gets no better, a step at a time, on the disk that is full; waits for `go`.
LOGGING = """\
import json, os, sys, time
folder = os.path.join(os.environ["PERDURE_RUN_DIR"], "metrics")
os.makedirs(folder, exist_ok=True)
file = open(os.path.join(folder, "000001.jsonl"), "a", buffering=1)
print(json.dumps({"perdure": 1, "chain": []}), file=file)
step = 0
while step == 0 or not os.path.exists(sys.argv[1]):
    step += 1
    try:
        print(json.dumps({"step": step, "loss": 1.0}), file=file)
    except OSError:
        pass
    time.sleep(0.05)
"""


@needs_optuna
def test_a_search_with_a_pruner_outlives_a_full_disk(
    workspace: Workspace, disk: Path, tmp_path: Path
) -> None:
    (workspace.project.root / "train.py").write_text(LOGGING)
    go = tmp_path / "go"
    search = Search(kind="optuna", trials=3, metric="loss", pruner="median", sampler="random")
    folder = driven(workspace, "x=0.0..1.0", arguments=(str(go),), search=search)
    first = [workspace.project.results / f"sweep-000{number}" for number in (1, 2)]
    until(lambda: all((each / "metrics" / "000001.jsonl").exists() for each in first))
    journal = folder / JOURNAL_FILE
    until(lambda: b'"intermediate_value"' in journal.read_bytes())
    stuffing = stuff(disk)
    until(lambda: "no space left" in waits(folder))
    # What they have logged still fits in the pages they have: the study's own has no room for it.
    until(lambda: -journal.stat().st_size % 4096 < 200 or not is_driven(folder))
    # Both come to their end, and the study cannot be told of it yet.
    go.touch()
    until(lambda: not any(folders.is_alive(each) for each in first))
    assert is_driven(folder)
    stuffing.unlink()
    found = over(workspace, folder)
    assert found.states == {State.SUCCEEDED: 3}
    assert all(folders.attempts(each) == [1] for each in first)
    states = {trial.state.name for trial in Tuner(folder, found.sweep)._study.trials}
    assert states == {"COMPLETE"}
