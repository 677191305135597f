"""What every test of the runtime gets: a process whose signals and hook are given back."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime import notice, probe
from tests.runtime.forkserver import Forkserver
from tests.runtime.journey import Baselines


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Give back the signals and the hook that a run takes."""
    before = {number: signal.getsignal(number) for number in notice.SIGNALS}
    hook = sys.excepthook
    probe.forget()
    yield
    probe.forget()
    sys.excepthook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the uninterrupted run."""
    from tests.runtime.training import train

    before = {number: signal.getsignal(number) for number in notice.SIGNALS}
    folder = tmp_path_factory.mktemp("straight")
    run = train(folder)
    assert (run.step, run.epoch, run.rank, run.world, run.seed) == (15, 3, 0, 1, 7)
    for number, handler in before.items():
        signal.signal(number, handler)
    return folder


@pytest.fixture(scope="module")
def baselines(server: Forkserver, tmp_path_factory: pytest.TempPathFactory) -> Baselines:
    """Return the uninterrupted trainings of a module that has a `server` of its own."""
    return Baselines(server, tmp_path_factory.mktemp("baselines"))
