"""Trainings that tests interrupt, and what they are compared with."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from perdure.runtime.metrics import read_rows
from perdure.runtime.result import read_result
from perdure.runtime.run import Run, start


class Noise:
    """Items that draw from every generator: exact only if those are kept apart and restored."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        scale = random.random() + float(np.random.rand())
        return torch.randn(4) * scale + index / 40, index % 2


Hook = Callable[[Run, str], None]


def nothing(run: Run, where: str) -> None:
    """Let the training be."""


class Net:
    """A little network with all that is hard: dropout, batch norm, schedule, state of its own."""

    def __init__(self, run: Run) -> None:
        self.model = torch.nn.Sequential(
            torch.nn.Linear(4, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(8, 2),
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1)
        self.average = {"loss": 0.0, "seen": 0}
        run.track(
            model=self.model,
            optimizer=self.optimizer,
            schedule=self.schedule,
            average=self.average,
        )

    def step(self, x: torch.Tensor, y: torch.Tensor, half_way: Callable[[], None]) -> torch.Tensor:
        """Return the loss of a batch, after a step that draws from every generator."""
        noise = random.random() * 0.01 + float(np.random.rand()) * 0.01
        loss = torch.nn.functional.cross_entropy(self.model(x + noise), y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        half_way()
        self.optimizer.step()
        self.average["loss"] = 0.9 * self.average["loss"] + 0.1 * loss.item()
        self.average["seen"] += len(y)
        return loss


def train(folder: Path, hook: Hook = nothing, *, workers: int = 0, epochs: int = 3) -> Run:
    """Train with validation; `hook` is called in every epoch, step and item of validation."""
    run = start(7, folder=folder, save_every=1000)
    net = Net(run)
    loader = run.loader(Noise(), batch_size=8, shuffle=True, num_workers=workers)
    for _ in run.epochs(epochs):
        net.average["seen"] = 0
        shift = torch.rand(1)
        run.log(shift=shift)
        hook(run, "epoch")
        for x, y in loader:
            loss = net.step(x + shift, y, lambda: hook(run, "step"))
            run.log(loss=loss, average=net.average["loss"])
        net.schedule.step()
        net.model.eval()
        total = 0.0
        for item in run.poll(range(3)):
            hook(run, "poll")
            total += item * float(torch.rand(1))
        net.model.train()
        run.log(total=total, seen=net.average["seen"])
    return run


def assert_same(folder: Path, straight: Path) -> None:
    """Hold that two folders came to the same weights, state and rows."""
    ours, theirs = read_result(str(folder)), read_result(str(straight))
    assert ours is not None
    assert theirs is not None
    assert read_rows(str(folder)) == read_rows(str(straight))
    assert (ours.weights, ours.tree, ours.rows) == (theirs.weights, theirs.tree, theirs.rows)
    assert ours.complete
    assert ours.tensors == theirs.tensors


def at(step: int, where: str, times: int = 1) -> Hook:
    """Return a hook that sends SIGTERM once the run is at a step and place."""
    count = [0]

    def hook(run: Run, place: str) -> None:
        if place == where and run.step == step:
            count[0] += 1
            if count[0] == times:
                os.kill(os.getpid(), signal.SIGTERM)

    return hook


def wait_for_writer() -> None:
    """Wait for the save that a crashed training still had under way."""
    for thread in threading.enumerate():
        if thread.name == "perdure-writer":
            thread.join()


def count_to(folder: Path, last: int, stop_at: int = -1) -> list[int]:
    """Count with `run.steps`, tracked; return the steps seen."""
    run = start(1, folder=folder)
    state = {"sum": 0}
    run.track(state=state)
    seen = []
    for step in run.steps(last):
        state["sum"] += step
        run.log(sum=state["sum"])
        seen.append(step)
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
    return seen
