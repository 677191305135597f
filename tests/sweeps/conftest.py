"""What the tests of sweeps share; no driver and no job outlives its test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.hosts import processes
from perdure.jobs.workspace import Workspace
from perdure.runtime import names
from perdure.sweeps.holding import is_driven, last_word
from perdure.sweeps.record import folder_of, names_of
from tests.jobs.projects import training
from tests.waiting import until


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Return a workspace with an interruptible task `train` in a folder with a hostile name."""
    made = training(tmp_path / "my 'pro$(ject)\n\u00e9")
    yield made
    end_all(made)


def end_all(workspace: Workspace) -> None:
    """Kill the drivers of a workspace and what they had started."""
    project = workspace.project
    for name in names_of(project):
        folder = folder_of(project, name)
        kill_driver(folder)
    for folder in project.results.glob("*/"):
        run_dir = str(folder)
        processes.kill_all(lambda: processes.carrying(names.RUN_DIR, run_dir))  # noqa: B023


def kill_driver(folder: Path) -> None:
    """Send SIGKILL to a sweep's driver, if it has one, and wait until it is gone."""
    word = last_word(folder)
    if word is not None and is_driven(folder):
        os.kill(word.pid, signal.SIGKILL)
        until(lambda: not is_driven(folder))
