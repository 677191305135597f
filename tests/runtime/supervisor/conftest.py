"""Fixtures of the supervisor's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime.supervisor.signals import Signals
from perdure.runtime.supervisor.watch import Watch
from tests.runtime.supervisor.harness import options

HOSTILE = "a b'c\"d\n$(touch x)é☃;&"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    return folder


@pytest.fixture
def signals() -> Iterator[Signals]:
    made = Signals()
    yield made
    made.restore()


@pytest.fixture
def watch(run_dir: Path, signals: Signals) -> Watch:
    return Watch(options(run_dir), signals)
