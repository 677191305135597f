"""Trainings of scikit-learn's estimators and of plain trees: interrupted is uninterrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.forkserver import Forkserver
from tests.runtime.journey import Baselines, Cut, rows, travel


@pytest.fixture(scope="module")
def server() -> Iterator[Forkserver]:
    modules = ("sklearn.datasets", "sklearn.cluster", "sklearn.neural_network")
    with Forkserver("trees.py", modules) as server:
        yield server


@pytest.fixture(scope="module")
def baselines(server: Forkserver, tmp_path_factory: pytest.TempPathFactory) -> Baselines:
    return Baselines(server, tmp_path_factory.mktemp("baselines"))


@pytest.mark.parametrize("kind", ["SGDClassifier", "IncrementalPCA", "tree"])
@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param([Cut("term", 13)], id="a notice"),
        pytest.param([Cut("kill", 10, 5, "save-durable")], id="killed after a save"),
        pytest.param(
            [Cut("term", 0), Cut("kill", 12, 4, "save-durable"), Cut("term", 36)], id="three times"
        ),
    ],
)
def test_an_interrupted_training_is_the_uninterrupted_one(
    server: Forkserver, baselines: Baselines, tmp_path: Path, kind: str, cuts: list[Cut]
) -> None:
    environment = {"KIND": kind}
    cut = travel(server, tmp_path / "cut", environment, *cuts)
    assert len(rows(tmp_path / "cut")) == 40
    assert rows(tmp_path / "cut") == baselines.rows(environment)
    assert cut == baselines.result(environment)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("MLPClassifier", "model/_label_binarizer"),
        ("MiniBatchKMeans", "model/_random_state"),
    ],
)
def test_what_cannot_be_written_is_refused_by_its_path(
    server: Forkserver, tmp_path: Path, kind: str, path: str
) -> None:
    log = tmp_path / "refused.log"
    environment = {"KIND": kind, "PERDURE_RUN_DIR": str(tmp_path / "run")}
    assert server.run(environment, log=log) == [1]
    assert f"state at `{path}` has the unsupported type `" in log.read_text()
