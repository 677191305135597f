"""A real Slurm, started when the first test asks for it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

import pytest

from tests.engines.slurm import STATE, Cluster, search_path, start, stop


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Have the cluster to oneself: another process of the tests may be in the middle of one."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    with (STATE.parent / f"in use {STATE.name}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def _slurm_running() -> Iterator[Cluster]:
    try:
        # Another process may be about to kill a node.
        with _alone():
            started = start()
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    yield Cluster()
    if started:
        with _alone():
            stop()


@pytest.fixture
def slurm(_slurm_running: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Return a cluster with all its nodes and no job, which this process's variables lead to."""
    monkeypatch.setenv("SLURM_CONF", str(_slurm_running.conf))
    monkeypatch.setenv("PATH", search_path())
    with _alone():
        start()
        _slurm_running.settle()
        yield _slurm_running
        _slurm_running.start_controller()
        start()
        _slurm_running.settle()
