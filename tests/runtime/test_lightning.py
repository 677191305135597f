"""Lightning trainings: interrupted is uninterrupted, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.forkserver import Forkserver
from tests.runtime.journey import Baselines, Cut, rows, travel

MODULES = ("torch", "sklearn.datasets", "torchmetrics", "lightning.pytorch", "pytorch_lightning")
PLAIN = {"OPTIONS": "{}"}


@pytest.fixture(scope="module")
def server() -> Iterator[Forkserver]:
    with Forkserver("lightning_digits.py", MODULES) as server:
        yield server


@pytest.fixture(scope="module")
def baselines(server: Forkserver, tmp_path_factory: pytest.TempPathFactory) -> Baselines:
    return Baselines(server, tmp_path_factory.mktemp("baselines"))


@pytest.mark.parametrize(
    ("options", "cuts"),
    [
        pytest.param({}, [Cut("term", 14)], id="a notice in the middle of an epoch"),
        pytest.param({}, [Cut("term", 0)], id="a notice before the first step"),
        pytest.param({}, [Cut("term", 10)], id="a notice between two epochs"),
        pytest.param({}, [Cut("kill", 27, 4)], id="killed after a periodic save"),
        pytest.param(
            {}, [Cut("kill", 8, 3), Cut("term", 9), Cut("kill", 26, 5)], id="three times in a row"
        ),
        pytest.param(
            {"accumulate_grad_batches": 3, "val_check_interval": 0.25},
            [Cut("term", 5), Cut("kill", 10, 2)],
            id="windows of batches, and validation inside epochs",
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
    assert not list((tmp_path / "cut").rglob("*.ckpt"))


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"LIGHTNING_NAME": "pytorch_lightning"}, id="its other name"),
        pytest.param({"WORKERS": "2"}, id="two workers"),
    ],
)
def test_neither_name_nor_workers_matter(
    server: Forkserver, baselines: Baselines, tmp_path: Path, environment: dict[str, str]
) -> None:
    straight = baselines.result(PLAIN)
    cut = travel(server, tmp_path / "cut", {**PLAIN, **environment}, Cut("term", 14))
    assert (cut.weights, cut.metrics) == (straight.weights, straight.metrics)


def test_a_training_that_is_over_is_not_trained_again(server: Forkserver, tmp_path: Path) -> None:
    once = travel(server, tmp_path / "run", PLAIN)
    log = tmp_path / "again.log"
    assert server.run({**PLAIN, "PERDURE_RUN_DIR": str(tmp_path / "run")}, log=log) == [0]
    assert "it is complete" in log.read_text()
    assert "end 30 30 3" in log.read_text()
    assert rows(tmp_path / "run") != []
    assert once.complete
