"""A sweep whose jobs run on another machine, driven from here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from perdure.sweeps.holding import is_driven, last_word
from tests.e2e.test_remote import perdure, project, until  # noqa: F401 - a fixture is among them
from tests.engines.hosts import Laptop

STEPS = 60


def expected(seed: int) -> str:
    chain = str(seed)
    for step in range(1, STEPS + 1):
        chain = hashlib.sha256(f"{chain} {step}".encode()).hexdigest()
    return chain


def states(laptop: Laptop, folder: Path) -> dict[str, int]:
    done = laptop.perdure("sweep", "status", "far", "--json", cwd=folder)
    assert done.code == 0, done.out + done.err
    found: dict[str, int] = json.loads(done.out)["states"]
    return found


@pytest.mark.timeout(600)
def test_jobs_go_on_there_when_the_driver_here_is_killed(
    laptop: Laptop,
    project: Path,  # noqa: F811 - the fixture
) -> None:
    words = ("sweep", "--on", "gpu1", "--name", "far", "--max-running", "2", "train", "seed=1..4")
    perdure(laptop, project, *words, "--", str(STEPS), "0.05")
    sweep = project / ".perdure" / "sweeps" / "far"
    until((project / "results" / "far-0002" / "attempts").is_dir)
    word = last_word(sweep)
    assert word is not None
    # Of the laptop's own numbers.
    assert laptop.run("kill", "-9", str(word.pid)).code == 0
    until(lambda: not is_driven(sweep))
    # Whoever looks begins another driver, which finds what runs.
    assert "another one goes on" in perdure(laptop, project, "sweep", "status", "far")
    until(lambda: states(laptop, project) == {"SUCCEEDED": 4})
    perdure(laptop, project, "pull", "results", "--on", "gpu1")
    for seed in (1, 2, 3, 4):
        folder = project / "results" / f"far-{seed:04d}"
        assert (folder / "outputs" / "result").read_text() == expected(seed)
        assert [path.name for path in (folder / "attempts").glob("*.jsonl")] == ["000001.jsonl"]
