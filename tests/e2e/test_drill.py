"""`perdure drill` as a user types it, in a project made by `perdure new`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 900


def perdure(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure.cli.main", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project made by `perdure new`."""
    folder = tmp_path_factory.mktemp("drilled")
    made = perdure(folder, "new", "cats", "--yes")
    assert made.returncode == 0, made.stderr
    return folder / "cats"


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("count", [8, pytest.param(30, marks=pytest.mark.long)])
def test_the_template_is_bit_exact_and_nothing_of_it_can_be_lost_unseen(
    project: Path, count: int
) -> None:
    words = ("drill", "train", "-n", str(count), "--self-test", "--", "--epochs", "2")
    done = perdure(project, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = done.stdout.splitlines()[0]
    found = re.fullmatch(
        rf"{count}/{count} bit-exact; (\d+) interruptions?, (\d+) mid-epoch, (\d+) inside a save",
        verdict,
    )
    assert found, verdict
    interruptions, mid_epoch, in_save = map(int, found.groups())
    assert interruptions >= count
    assert mid_epoch > interruptions / 2
    assert in_save >= 1
    assert "self-test: 9/9" in done.stdout
    assert not list((project / "results").glob("*/job.json"))


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_a_fault_planted_into_the_template_is_caught_and_named(project: Path) -> None:
    train = project / "src" / "cats" / "train.py"
    code = train.read_text()
    planted = code.replace("schedule=schedule, average=average", "schedule=schedule")
    assert planted != code
    train.write_text(planted)
    try:
        words = ("drill", "train", "-n", "2", "--kinds", "term,kill", "--", "--epochs", "2")
        done = perdure(project, *words)
    finally:
        train.write_text(code)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "metric accuracy differs" in done.stdout
