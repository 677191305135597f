"""`perdure demo` as a user types it: twice in a row, in one folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 900


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure.cli.main", "demo", str(folder)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def events(folder: Path) -> list[list[dict[str, object]]]:
    """Return the events of each attempt."""
    paths = sorted((folder / "attempts").glob("*.jsonl"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]


def verdict(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr + done.stdout).splitlines()
    return next(line for line in lines if line.startswith("identical:"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demonstrated") / "my demo"


@pytest.fixture(scope="module")
def first(folder: Path) -> subprocess.CompletedProcess[str]:
    """Return how the demonstration ended that made the folder."""
    return demo(folder)


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_the_demo_interrupts_kills_resumes_and_compares(
    folder: Path, first: subprocess.CompletedProcess[str]
) -> None:
    said = first.stderr + first.stdout
    assert first.returncode == 0, said
    assert re.search(r"^identical: weights [0-9a-f]{16}, 230 metric rows$", said, re.MULTILINE)
    for words in ("touched PREEMPT", "is durable", "exit code 75", "SIGKILL"):
        assert words in said
    attempts = {path.name: events(path) for path in (folder / "results").iterdir() if path.is_dir()}
    broken = next(job for job in attempts.values() if len(job) == 3)
    (whole,) = (job for job in attempts.values() if len(job) == 1)
    exits = [next(e for e in attempt if e["event"] == "exited") for attempt in broken]
    assert [(end["code"], end["signal"]) for end in exits] == [(75, None), (None, 9), (0, None)]
    assert any(event["event"] == "notice" for event in broken[0])
    assert whole[0][-1]["state"] == "SUCCEEDED"


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_it_works_twice_in_a_row(folder: Path, first: subprocess.CompletedProcess[str]) -> None:
    second = demo(folder)
    assert second.returncode == 0, second.stderr
    assert "is there already" in second.stderr + second.stdout
    assert verdict(first) == verdict(second)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = demo(tmp_path)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
