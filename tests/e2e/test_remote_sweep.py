"""A sweep whose jobs run on another machine, driven from here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from perdure.sweeps.holding import is_driven, last_word
from tests.e2e.chain import Chain, make_chain
from tests.engines.hosts import Laptop

STEPS = 60


@pytest.fixture
def chain(laptop: Laptop) -> Iterator[Chain]:
    with make_chain(laptop) as made:
        yield made


def expected(seed: int) -> str:
    digest = str(seed)
    for step in range(1, STEPS + 1):
        digest = hashlib.sha256(f"{digest} {step}".encode()).hexdigest()
    return digest


def states(chain: Chain) -> dict[str, int]:
    told = json.loads(chain.perdure("sweep", "status", "far", "--json"))
    found: dict[str, int] = told["states"]
    return found


@pytest.mark.timeout(600)
def test_jobs_go_on_there_when_the_driver_here_is_killed(chain: Chain) -> None:
    words = ("sweep", "--on", "gpu1", "--name", "far", "--max-running", "2", "train", "seed=1..4")
    chain.perdure(*words, "--", str(STEPS), "0.05")
    sweep = chain.project / ".perdure" / "sweeps" / "far"
    results = chain.project / "results"
    chain.until((results / "far-0002" / "attempts").is_dir)
    word = last_word(sweep)
    assert word is not None
    # Of the laptop's own numbers.
    assert chain.laptop.run("kill", "-9", str(word.pid)).code == 0
    chain.until(lambda: not is_driven(sweep))
    # Whoever looks begins another driver, which finds what runs.
    assert "another one goes on" in chain.perdure("sweep", "status", "far")
    chain.until(lambda: states(chain) == {"SUCCEEDED": 4})
    chain.perdure("pull", "results", "--on", "gpu1")
    for seed in (1, 2, 3, 4):
        folder = results / f"far-{seed:04d}"
        assert (folder / "outputs" / "result").read_text() == expected(seed)
        assert [path.name for path in (folder / "attempts").glob("*.jsonl")] == ["000001.jsonl"]
