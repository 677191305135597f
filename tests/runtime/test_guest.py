"""A run inside a framework's loop: what it takes over, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    WeightedRandomSampler,
)

from perdure.runtime import guest
from perdure.runtime.attempt import Attempt, Settings
from perdure.runtime.faults import MisuseError
from perdure.runtime.guest import Guest
from perdure.runtime.metrics import read_rows
from perdure.runtime.ranks import Solo
from perdure.runtime.run import Run

DATA = torch.utils.data.TensorDataset(torch.arange(10))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Attempt(tmp_path, Settings(seed=1, keep=3, save_every_s=1000), Solo()))


def order(run: Run, loader: DataLoader[object]) -> list[int]:
    """Return the data of the first pass in the order in which it is given."""
    batches, _ = guest.adopt(run, loader).begin(0)
    return [int(number) for batch in batches for number in batch[0]]  # type: ignore[index]


def test_the_order_is_the_loaders_or_the_runs(run: Run) -> None:
    assert order(run, DataLoader(DATA, batch_size=3)) == list(range(10))
    shuffled = order(run, DataLoader(DATA, batch_size=3, shuffle=True))
    assert shuffled != sorted(shuffled) == list(range(10))
    distributed: DistributedSampler[object] = DistributedSampler(
        DATA, num_replicas=1, rank=0, shuffle=True
    )
    assert order(run, DataLoader(DATA, batch_size=3, sampler=distributed)) == shuffled
    assert len(order(run, DataLoader(DATA, batch_size=3, drop_last=True))) == 9


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        yield 1


class Endless:
    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (DataLoader(DATA, batch_sampler=BatchSampler(range(10), 2, False)), "batch sampler"),
        (DataLoader(DATA, sampler=WeightedRandomSampler([1.0] * 10, 10)), "WeightedRandomSampler"),
        (DataLoader(DATA, sampler=RandomSampler(DATA, replacement=True)), "`RandomSampler`"),
        (DataLoader(DATA, sampler=RandomSampler(DATA, num_samples=3)), "`RandomSampler`"),
        (DataLoader(Stream()), "no items by index"),
        (DataLoader(Endless(), sampler=range(3)), "items by index"),  # type: ignore[arg-type]
        ([1, 2, 3], "comes from a `list`"),
        ({"a": DataLoader(DATA)}, "comes from a `dict`"),
    ],
)
def test_what_has_an_order_of_its_own_is_refused(run: Run, given: object, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        guest.adopt(run, given)


def test_without_torch_there_is_nothing_to_adopt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(MisuseError):
        guest.adopt(run, [])


def test_processes_that_the_run_does_not_know_of_are_refused(run: Run) -> None:
    Guest(run).check_world(1)
    with pytest.raises(
        MisuseError, match=r"the trainer has 4 processes, the run 1\nhint: .*torchrun"
    ):
        Guest(run).check_world(4)


def tracking(folder: Path, state: dict[str, int]) -> Guest:
    """Return a restored attempt that tracks a counter."""
    made = Guest(Run(Attempt(folder, Settings(1, 3, 1000), Solo())))
    made.run.track(state=state)
    made.restore()
    return made


def train(visitor: Guest, state: dict[str, int]) -> None:
    """Train two epochs of five steps; ask for a checkpoint after the third step of the second."""
    for epoch in range(2):
        assert (visitor.ahead(), visitor.enter(epoch)) == (0, 0)
        for batch in range(5):
            visitor.hand_out(batch)
            state["count"] += 1
            visitor.log({"count": state["count"]})
            if (epoch, batch) == (1, 2):
                visitor.run.save()
            assert visitor.used(1) == batch + 1
            visitor.step(end=batch == 4)
        visitor.leave()
    visitor.attempt.keeper.finish()


def test_a_place_is_found_again(tmp_path: Path) -> None:
    state = {"count": 0}
    train(tracking(tmp_path, state), state)
    state["count"] = -1
    again = tracking(tmp_path, state)
    assert (again.replaying, again.complete, again.run.epoch, again.ahead()) == (True, False, 1, 3)
    state["count"] = 1000  # what the way to that place has done
    again.prepare(1)
    assert again.enter(1) == 3
    assert (again.replaying, again.run.step, state) == (False, 8, {"count": 8})
    assert again.used(2) == 5
    again.leave()
    again.finish()
    assert again.complete
    again.log({"late": 1})
    assert [row["count"] for row in read_rows(str(tmp_path))] == list(range(1, 9))


def test_a_second_pass_in_one_epoch_is_found_again_too(tmp_path: Path) -> None:
    def attempt() -> Guest:
        made = Guest(Run(Attempt(tmp_path, Settings(1, 3, 1000), Solo())))
        made.restore()
        return made

    visitor = attempt()
    visitor.enter(0)
    visitor.leave()
    visitor.enter(0)
    visitor.run.save()
    visitor.used(2)
    visitor.step()
    visitor.attempt.keeper.finish()
    again = attempt()
    assert (again.enter(0), again.run.passes(guest.SOURCE)) == (2, 1)
