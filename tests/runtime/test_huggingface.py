"""Trainings by Hugging Face's Trainer: interrupted is uninterrupted, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.forkserver import Forkserver
from tests.runtime.journey import Baselines, Cut, rows, travel

MODULES = ("torch", "sklearn.datasets", "accelerate", "transformers.trainer")
PLAIN = {"OPTIONS": "{}"}


@pytest.fixture(scope="module")
def server() -> Iterator[Forkserver]:
    with Forkserver("huggingface_digits.py", MODULES) as server:
        yield server


@pytest.fixture(scope="module")
def baselines(server: Forkserver, tmp_path_factory: pytest.TempPathFactory) -> Baselines:
    return Baselines(server, tmp_path_factory.mktemp("baselines"))


@pytest.mark.parametrize(
    ("options", "cuts"),
    [
        pytest.param({}, [Cut("term", 14)], id="a notice in the middle of an epoch"),
        pytest.param({}, [Cut("term", 0)], id="a notice before the first step"),
        pytest.param({}, [Cut("term", 9)], id="a notice between two epochs"),
        pytest.param({}, [Cut("kill", 27, 4)], id="killed after a periodic save"),
        pytest.param(
            {}, [Cut("kill", 8, 3), Cut("term", 9), Cut("kill", 26, 5)], id="three times in a row"
        ),
        pytest.param(
            {
                "gradient_accumulation_steps": 3,
                "eval_strategy": "steps",
                "eval_steps": 2,
                "load_best_model_at_end": True,
            },
            [Cut("term", 5), Cut("kill", 10, 2)],
            id="windows of batches, evaluation inside epochs, the best model at the end",
        ),
        pytest.param({"max_steps": 17}, [Cut("term", 12)], id="so many steps"),
    ],
)
def test_an_interrupted_training_is_the_uninterrupted_one(
    server: Forkserver,
    baselines: Baselines,
    tmp_path: Path,
    options: dict[str, object],
    cuts: list[Cut],
) -> None:
    environment = {"OPTIONS": json.dumps(options)}
    cut = travel(server, tmp_path / "cut", environment, *cuts)
    assert rows(tmp_path / "cut") == baselines.rows(environment)
    assert cut == baselines.result(environment)


def test_with_workers_too(server: Forkserver, baselines: Baselines, tmp_path: Path) -> None:
    # Not the same as without: Trainer's evaluation draws its random numbers in them.
    workers = {"OPTIONS": json.dumps({"dataloader_num_workers": 2})}
    cut = travel(server, tmp_path / "cut", workers, Cut("term", 14))
    assert cut == baselines.result(workers)


def test_nothing_but_the_best_model_is_saved_beside_the_run(
    server: Forkserver, tmp_path: Path
) -> None:
    travel(server, tmp_path / "run", PLAIN)
    assert not list((tmp_path / "run" / "outputs").glob("checkpoint-*"))


def test_a_training_that_is_over_is_not_trained_again(server: Forkserver, tmp_path: Path) -> None:
    travel(server, tmp_path / "run", PLAIN)
    before, log = rows(tmp_path / "run"), tmp_path / "again.log"
    assert server.run({**PLAIN, "PERDURE_RUN_DIR": str(tmp_path / "run")}, log=log) == [0]
    assert "it is complete" in log.read_text()
    assert rows(tmp_path / "run") == before
    ends = [(tmp_path / name).read_text().partition("end ")[2] for name in ("run.log", "again.log")]
    assert ends[0] == ends[1] != ""
