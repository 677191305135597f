"""Lightning trainings: interrupted is uninterrupted, bit for bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from perdure.runtime import lightning
from perdure.runtime.attempt import Attempt, Settings
from perdure.runtime.faults import MisuseError
from perdure.runtime.guest import Guest
from perdure.runtime.ranks import Solo
from perdure.runtime.run import Run
from tests.runtime.forkserver import Forkserver
from tests.runtime.journey import Baselines, Cut, resume_without, rows, travel

MODULES = ("torch", "sklearn.datasets", "torchmetrics", "lightning.pytorch", "pytorch_lightning")
PLAIN = {"OPTIONS": "{}"}


@pytest.fixture(scope="module")
def server() -> Iterator[Forkserver]:
    with Forkserver("lightning_digits.py", MODULES) as server:
        yield server


@pytest.mark.parametrize(
    ("options", "cuts"),
    [
        pytest.param({}, [Cut("term", 14)], id="a notice in the middle of an epoch"),
        pytest.param({}, [Cut("term", 0)], id="a notice before the first step"),
        pytest.param({}, [Cut("term", 10)], id="a notice between two epochs"),
        pytest.param({}, [Cut("kill", 24, 4, "save-durable")], id="killed after a periodic save"),
        pytest.param(
            {},
            [
                Cut("kill", 6, 3, "save-durable"),
                Cut("term", 16),
                Cut("kill", 20, 5, "save-durable"),
            ],
            id="three times in a row",
        ),
        pytest.param(
            {"accumulate_grad_batches": 3, "val_check_interval": 0.25},
            [Cut("term", 5), Cut("kill", 8, 2, "save-durable")],
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


@pytest.mark.parametrize(
    "item",
    ["model", "trainer", "loops", "logged", "metrics", "rng.python", "rng.numpy", "rng.torch"],
)
def test_every_item_is_needed(
    server: Forkserver, baselines: Baselines, tmp_path: Path, item: str
) -> None:
    # Inside a window of batches nothing is saved; the random numbers of the data are its own, so
    # the global generators matter to dropout and to the validation's noise.
    without = resume_without(server, tmp_path / "run", PLAIN, Cut("term", 14), item)
    assert without != baselines.result(PLAIN)


def test_either_name_of_lightning_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = ModuleType("pytorch_lightning"), ModuleType("lightning.pytorch")
    monkeypatch.setitem(sys.modules, "pytorch_lightning", older)
    monkeypatch.delitem(sys.modules, "lightning.pytorch", raising=False)
    assert lightning._lightning() is older
    monkeypatch.setitem(sys.modules, "lightning.pytorch", newer)
    assert lightning._lightning() is newer
    monkeypatch.delitem(sys.modules, "lightning.pytorch")
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    monkeypatch.setattr("importlib.import_module", {"lightning.pytorch": newer}.__getitem__)
    assert lightning._lightning() is newer


@pytest.fixture
def visitor(tmp_path: Path) -> Guest:
    return Guest(Run(Attempt(tmp_path, Settings(1, 3, 1000), Solo())))


def test_a_feed_is_over_when_its_batches_are(visitor: Guest) -> None:
    trainer = SimpleNamespace(current_epoch=0, accumulate_grad_batches=2)
    feed = lightning.Feed(visitor, trainer)
    feed.adopt(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.arange(5))))
    assert len(feed) == len(list(feed)) == 5
    assert visitor.run.step == 2
    feed.end_epoch()
    assert visitor.run.step == 2
    assert visitor.run.passes("training") == 1


def test_one_run_holds_one_training(visitor: Guest) -> None:
    callback = lightning.PerdureCallback(visitor.run)
    callback.setup(SimpleNamespace(), SimpleNamespace(), "validate")
    callback._feed = lightning.Feed(visitor, SimpleNamespace())
    with pytest.raises(MisuseError, match="a second `fit`"):
        callback.on_fit_start(SimpleNamespace(), SimpleNamespace())
