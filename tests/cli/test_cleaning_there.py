"""`perdure clean results` of jobs that ran on another host: there and here, or here only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Ended, perdure
from tests.cli.terminal import on_terminal
from tests.engines.hosts import Hosts

TARGET = "[targets.gpubox]\nhost = 'ada@gpu1'\nengine = 'process'\nroot = '{root}'\n"
LIMIT_S = 300.0
pytestmark = pytest.mark.timeout(LIMIT_S)


@pytest.fixture
def there(project: Path, hosts_here: Hosts) -> Iterator[Path]:
    """Have two jobs on gpubox that have ended, and return their results' folder there."""
    root = hosts_here.place("gpu1") / f"clean of {project.parent.name}"
    hosts_here.run("gpu1", "install", "-d", "-o", "ada", str(root))
    (project / ".perdure").mkdir()
    (project / ".perdure" / "local.toml").write_text(TARGET.format(root=root))
    for name in ("brave", "calm"):
        script = 'echo made >"$PERDURE_RUN_DIR/outputs/made"'
        words = ("run", "--on", "gpubox", "--name", name, "--", "sh", "-c", script)
        assert typed(project, *words).code == 0
    yield next(root.glob("*/results"))
    shutil.rmtree(root, ignore_errors=True)


def typed(project: Path, *words: str, code: int = 0) -> Ended:
    ended = perdure(*words, cwd=project)
    assert ended.code == code, ended.err
    return ended


def listed(project: Path) -> set[str]:
    return {each["job"] for each in json.loads(typed(project, "ps", "-a", "--json").out)}


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_job_that_is_deleted_there_is_listed_no_more(project: Path, there: Path) -> None:
    words = ("clean", "results", "brave", "--on", "gpubox")
    dry = typed(project, *words, "--dry-run").err
    assert "results on gpubox:" in dry
    assert "results here:" in dry
    assert listed(project) == kept(there) == {"brave", "calm"}
    with on_terminal(*words, cwd=project) as terminal:
        terminal.wait_for("results here:")
        terminal.wait_for("[y/N]")
        terminal.type(b"y\n")
        terminal.wait_for("deleted results here")
    assert listed(project) == kept(there) == {"calm"}
    typed(project, "clean", "results", "--on", "gpubox", "--yes")
    assert listed(project) == kept(there) == set()


def test_what_was_pulled_stays_here(project: Path, there: Path) -> None:
    typed(project, "pull", "results", "brave", "--on", "gpubox")
    typed(project, "clean", "results", "--on", "gpubox", "--yes")
    assert kept(there) == set()
    assert listed(project) == {"brave"}
    assert (project / "results" / "brave" / "outputs" / "made").read_text() == "made\n"


def test_a_job_that_is_gone_there_goes_here_as_well(project: Path, there: Path) -> None:
    shutil.rmtree(there / "brave")
    typed(project, "clean", "results", "brave", "--on", "gpubox", "--yes")
    assert (listed(project), kept(there)) == ({"calm"}, {"calm"})


def test_a_job_of_another_place_there_is_left(project: Path, there: Path) -> None:
    moved = there.parent.parent / "moved"
    (project / ".perdure" / "local.toml").write_text(TARGET.format(root=moved))
    script = ("--name", "third", "--", "sh", "-c", "true")
    typed(project, "run", "--on", "gpubox", *script)
    typed(project, "clean", "results", "--on", "gpubox", "--yes")
    assert listed(project) == kept(there) == {"brave", "calm"}


def test_who_cleans_here_is_told_of_what_stays_there(project: Path, there: Path) -> None:
    said = typed(project, "clean", "results", "--yes").err
    assert "perdure clean results brave calm --on gpubox" in said
    assert (listed(project), kept(there)) == (set(), {"brave", "calm"})
    typed(project, "clean", "results", "brave", "calm", "--on", "gpubox", "--yes")
    assert kept(there) == set()
