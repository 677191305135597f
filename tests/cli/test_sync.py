from __future__ import annotations

import sys
from pathlib import Path

import pytest

from perdure.cli.commands import sync
from perdure.cli.syncing import chosen_target, told
from perdure.errors import UsageError
from perdure.jobs.workspace import Workspace
from perdure.model.project import Project
from perdure.model.settings import Settings, TargetSettings
from perdure.sync import session
from perdure.sync.channel import boot_words
from perdure.sync.once import Destination, Summary
from perdure.sync.rules import Skipped
from perdure.sync.state import Kept
from tests.cli.command import is_one_error, perdure
from tests.engines.hosts import Hosts


def workspace(**targets: TargetSettings) -> Workspace:
    root = Path("/home/me/cats")
    return Workspace(Project(root, "cats", "cats", {}), Settings(targets=targets))


GPUBOX = TargetSettings("me@gpubox")


def test_the_only_target_needs_no_name() -> None:
    assert chosen_target(workspace(gpubox=GPUBOX), None) == "gpubox"
    assert chosen_target(workspace(a=GPUBOX, b=GPUBOX), "b") == "b"


@pytest.mark.parametrize(
    ("targets", "name", "message"),
    [
        ({}, None, "which target"),
        ({"a": GPUBOX, "b": GPUBOX}, None, "which target"),
        ({"gpubox": GPUBOX}, "local", "is this machine"),
        ({"gpubox": GPUBOX}, "gpubux", "no target `gpubux`"),
        ({"nfs": TargetSettings("x", sync="none")}, "nfs", "by other means"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    targets: dict[str, TargetSettings], name: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        chosen_target(workspace(**targets), name)
    assert caught.value.hint


def test_the_only_sync_that_runs_needs_no_name(project: Path, tmp_path: Path) -> None:
    targets = "".join(f"[targets.{name}]\nhost = '{name}'\n" for name in ("one", "two"))
    (project / ".perdure").mkdir(exist_ok=True)
    (project / ".perdure" / "local.toml").write_text(targets)
    assert is_one_error(perdure("sync", "status", cwd=project), 2, "which target", "one, two")
    there = Destination((sys.executable, *boot_words()[1:]), str(tmp_path / "there"))
    session.start(project, "two", there, timeout_s=120)
    told_of = perdure("sync", "status", cwd=project)
    assert told_of.out.startswith("two: connected"), told_of
    assert perdure("sync", "stop", cwd=project).err == "`two`: the sync has ended\n"


@pytest.mark.parametrize("words", [(), ("--watch",), ("--dry-run",)])
def test_a_host_without_python_or_docker_is_one_clear_error(
    project: Path, hosts_here: Hosts, words: tuple[str, ...]
) -> None:
    hosts_here.engine("bare", "none")
    (project / ".perdure").mkdir(exist_ok=True)
    there = hosts_here.place("bare") / f"sync of {project.parent.name}"
    (project / ".perdure" / "local.toml").write_text(
        f'[targets.bare]\nhost = "bare"\nroot = "{there}"\n'
    )
    ended = perdure("sync", "--on", "bare", *words, cwd=project)
    assert is_one_error(ended, 4, "no Python 3.9 or newer on `bare`", "install python3 there")
    assert not there.exists()
    assert sync.standing(session.status(project, "bare"), "bare").startswith("bare: no sync runs")


def test_one_line_says_what_was_done() -> None:
    done = Summary(3, 1, 0, 0, (), (Skipped("big", "too large"),), 0.42)
    assert told(done, "gpubox") == (
        "`gpubox`: 3 files sent, 1 file deleted there (0.4 s); 1 path skipped: perdure sync status"
    )
    assert told(Summary(0, 0, 0, 0, (), (), 0.1), "gpubox") == "`gpubox`: up to date (0.1 s)"


STATUS = {
    "connected": True,
    "since": 100.0,
    "time": 160.0,
    "files": 12,
    "problem": None,
    "problems": [{"path": "a", "why": "cannot be written there: no space left on device"}],
    "refused": ["x", "y"],
}


def test_status_says_how_it_stands() -> None:
    assert "perdure sync --watch --on gpubox" in sync.standing(None, "gpubox")
    line = sync.standing(STATUS, "gpubox")
    assert "connected for 1 min, 12 files" in line
    assert "no space left" in line
    assert "2 deletions refused: perdure sync --delete" in line
    lost = {**STATUS, "connected": False, "problem": "the connection was lost"}
    assert sync.standing(lost, "gpubox") == (
        "gpubox: not connected for 1 min: the connection was lost"
    )


def test_conflicts_and_what_is_skipped_are_listed() -> None:
    kept = [Kept(0.0, "a", ".perdure/conflicts/x/a", here=False)]
    assert sync.conflict_lines(kept, "gpubox")[0].endswith(
        "a: kept on gpubox in .perdure/conflicts/x/a"
    )
    many = [{"path": f"f{number}", "why": "git ignores it"} for number in range(60)]
    assert sync.skipped_lines(many)[-1] == "and 10 more"
