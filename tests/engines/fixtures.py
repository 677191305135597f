"""Real container engines, started when the first test asks for one; and an ordinary user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.engines import NEW, OLD, RealEngine, start, stop
from tests.engines.podman import start_podman, start_rootless, stop_rootless
from tests.engines.user import OrdinaryUser, make_user


def _running(engine: RealEngine) -> Iterator[RealEngine]:
    try:
        started = start(engine.name)
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    yield engine
    if started:
        stop(engine.name)


@pytest.fixture(scope="session")
def _old_running() -> Iterator[RealEngine]:
    yield from _running(OLD)


@pytest.fixture(scope="session")
def _modern_running() -> Iterator[RealEngine]:
    yield from _running(NEW)


def _chosen(engine: RealEngine, monkeypatch: pytest.MonkeyPatch) -> RealEngine:
    for name in ("DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in engine.variables.items():
        monkeypatch.setenv(name, value)
    return engine


@pytest.fixture
def old_engine(_old_running: RealEngine, monkeypatch: pytest.MonkeyPatch) -> RealEngine:
    """Return Docker 20.10, which this process's variables lead to."""
    return _chosen(_old_running, monkeypatch)


@pytest.fixture
def modern_engine(_modern_running: RealEngine, monkeypatch: pytest.MonkeyPatch) -> RealEngine:
    """Return Docker 26.1 with the containerd store, which this process's variables lead to."""
    return _chosen(_modern_running, monkeypatch)


@pytest.fixture(params=["old", "modern"])
def engine(request: pytest.FixtureRequest) -> RealEngine:
    """Return each engine in turn."""
    found = request.getfixturevalue(f"{request.param}_engine")
    assert isinstance(found, RealEngine)
    return found


@pytest.fixture(scope="session")
def _podman_there() -> RealEngine:
    try:
        return start_podman()
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def podman_engine(
    _podman_there: RealEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> RealEngine:
    """Return root's podman, to which the first `docker` on PATH leads, as podman-docker's does."""
    folder = tmp_path_factory.mktemp("podman-docker")
    (folder / "docker").symlink_to(_podman_there.client)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return _chosen(_podman_there, monkeypatch)


@pytest.fixture(scope="session")
def rootless_podman() -> Iterator[RealEngine]:
    """Return the podman of the tests' ordinary user; a test is skipped where there can be none."""
    try:
        found = start_rootless()
    except RuntimeError as error:
        pytest.skip(str(error))
    yield found
    stop_rootless(found)


@pytest.fixture
def as_user(user_settings: Path) -> Iterator[OrdinaryUser]:
    """Return an ordinary user with a folder of their own.

    It is not in pytest's folder, which nobody but the user of the tests may enter.
    """
    folder = Path(tempfile.mkdtemp(prefix="perdure-user-"))
    yield make_user(folder, user_settings)
    shutil.rmtree(folder, ignore_errors=True)
