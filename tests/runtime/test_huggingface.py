"""Trainings by Hugging Face's Trainer: interrupted is uninterrupted, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from perdure.runtime import huggingface
from perdure.runtime.attempt import Attempt, Settings
from perdure.runtime.faults import MisuseError
from perdure.runtime.guest import Guest
from perdure.runtime.ranks import Solo
from perdure.runtime.run import Run
from tests.runtime.forkserver import Forkserver
from tests.runtime.journey import Baselines, Cut, resume_without, rows, travel

MODULES = ("torch", "sklearn.datasets", "accelerate", "transformers.trainer")
PLAIN = {"OPTIONS": "{}"}


@pytest.fixture(scope="module")
def server() -> Iterator[Forkserver]:
    with Forkserver("huggingface_digits.py", MODULES) as server:
        yield server


@pytest.mark.parametrize(
    ("options", "cuts"),
    [
        pytest.param({}, [Cut("term", 14)], id="a notice in the middle of an epoch"),
        pytest.param({}, [Cut("term", 0)], id="a notice before the first step"),
        pytest.param({}, [Cut("term", 9)], id="a notice between two epochs"),
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
            {
                "gradient_accumulation_steps": 3,
                "eval_strategy": "steps",
                "eval_steps": 2,
                "load_best_model_at_end": True,
            },
            [Cut("term", 5), Cut("kill", 8, 2, "save-durable")],
            id="windows of batches, evaluation inside epochs, the best model at the end",
        ),
        pytest.param({"max_steps": 17}, [Cut("term", 12)], id="so many steps"),
        pytest.param({"enable_jit_checkpoint": True}, [Cut("term", 12)], id="its own handler"),
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


@pytest.mark.parametrize(
    "item",
    ["model", "optimizer", "schedule", "trainer", "rng.python", "rng.numpy", "rng.torch"],
)
def test_every_item_is_needed(
    server: Forkserver, baselines: Baselines, tmp_path: Path, item: str
) -> None:
    without = resume_without(server, tmp_path / "run", PLAIN, Cut("term", 14), item)
    assert without != baselines.result(PLAIN)


class Trainer(SimpleNamespace):
    """What a Course asks of a trainer before its training begins."""

    def __init__(self) -> None:
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        super().__init__(
            model=model,
            optimizer=optimizer,
            lr_scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 1),
            accelerator=SimpleNamespace(scaler=torch.amp.GradScaler("cpu")),
            get_train_dataloader=lambda: SimpleNamespace(dataset=[1, 2, 3], collate_fn=list),
            _run_epoch=None,
            _get_train_sampler=lambda dataset: None,
        )


@pytest.fixture
def visitor(tmp_path: Path) -> Guest:
    return Guest(Run(Attempt(tmp_path, Settings(1, 3, 1000), Solo())))


def test_a_stream_is_refused(visitor: Guest) -> None:
    with pytest.raises(MisuseError, match="has no length"):
        huggingface.Course(visitor, Trainer()).feed()


def test_a_scaler_is_tracked(visitor: Guest) -> None:
    huggingface.Course(visitor, Trainer()).begin()
    assert list(visitor.attempt.keeper.items)[-1] == "scaler"


def test_an_epoch_without_a_step_is_no_step(visitor: Guest) -> None:
    huggingface.Course(visitor, Trainer()).end_epoch()
    assert visitor.run.step == 0


def test_a_feed_gives_all_its_batches(visitor: Guest) -> None:
    sampler = torch.utils.data.SequentialSampler([1, 2, 3])
    trainer = Trainer()
    trainer._get_train_sampler = lambda dataset: sampler
    trainer._train_batch_size = 2
    trainer.args = SimpleNamespace(
        dataloader_drop_last=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        dataloader_prefetch_factor=None,
    )
    feed = huggingface.Course(visitor, trainer).feed()
    assert len(feed) == 2
    assert list(feed) == feed.taken == [[1, 2], [3]]
