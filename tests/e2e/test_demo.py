"""`perdure demo` as a user types it: twice in a row, in one folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.demonstrated import PATIENCE_S, Demonstrated, Done, perdure


def events(folder: Path) -> list[list[dict[str, object]]]:
    """Return the events of each attempt."""
    paths = sorted((folder / "attempts").glob("*.jsonl"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]


def verdict(done: Done) -> str:
    lines = (done.stderr + done.stdout).splitlines()
    return next(line for line in lines if line.startswith("identical:"))


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_it_interrupts_kills_resumes_and_compares(demonstrated: Demonstrated) -> None:
    said = demonstrated.done.stderr + demonstrated.done.stdout
    assert demonstrated.done.returncode == 0, said
    assert re.search(r"^identical: weights [0-9a-f]{16}, 230 metric rows$", said, re.MULTILINE)
    for words in ("touched PREEMPT", "is durable", "exit code 75", "SIGKILL"):
        assert words in said
    results = demonstrated.project / "results"
    attempts = [events(path) for path in results.iterdir() if path.is_dir()]
    broken = next(job for job in attempts if len(job) == 3)
    whole = next(job for job in attempts if len(job) == 1)
    exits = [next(e for e in attempt if e["event"] == "exited") for attempt in broken]
    assert [(end["code"], end["signal"]) for end in exits] == [(75, None), (None, 9), (0, None)]
    assert any(event["event"] == "notice" for event in broken[0])
    assert whole[0][-1]["state"] == "SUCCEEDED"


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_it_works_twice_in_a_row(demonstrated: Demonstrated) -> None:
    second = demonstrated.perdure("demo", str(demonstrated.project))
    assert second.returncode == 0, second.stderr
    assert "is there already" in second.stderr + second.stdout
    assert verdict(demonstrated.done) == verdict(second)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = perdure(tmp_path, "demo", str(tmp_path))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
