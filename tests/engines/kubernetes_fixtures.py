"""A real Kubernetes, started when the first test asks for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

import pytest

from tests.engines.kubernetes import (
    BIN,
    STATE,
    Cluster,
    clear_volume,
    image,
    prepare,
    start,
    stop,
)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Have the cluster to oneself: another process of the tests may be in the middle of one."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    with (STATE.parent / f"in use {STATE.name}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


#: What ends the cluster that a process of the tests has started.
_ENDING: list[Callable[[], None]] = []


@pytest.fixture(scope="session")
def _kubernetes_running() -> Iterator[Cluster]:
    try:
        with _alone():
            started = start()
            cluster = Cluster()
            prepare(cluster)
            clear_volume(cluster)
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    if started:
        _ENDING.append(_end)
    yield cluster
    end_kubernetes()


def end_kubernetes() -> None:
    """Stop the cluster if this process has started it: at rest it takes a quarter of a core."""
    while _ENDING:
        _ENDING.pop()()


def _end() -> None:
    with _alone():
        stop()


@pytest.fixture(scope="session")
def kubernetes_image(_kubernetes_running: Cluster) -> str:
    """Return the image that both nodes have."""
    return image(_kubernetes_running)


@pytest.fixture
def kubernetes(
    _kubernetes_running: Cluster, kubernetes_image: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """Return a cluster with both its nodes and no job, which this process's variables lead to."""
    del kubernetes_image  # it is there
    monkeypatch.setenv("KUBECONFIG", str(_kubernetes_running.config))
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    with _alone():
        _kubernetes_running.restore()
        _kubernetes_running.settle()
        yield _kubernetes_running
        _kubernetes_running.restore()
        _kubernetes_running.settle()
