"""What the tests of jobs share; no job outlives its test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.hosts import processes
from perdure.jobs.control import kill
from perdure.jobs.workspace import Workspace
from perdure.runtime import names
from tests.jobs.projects import training


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder whose name is hostile to whoever quotes."""
    return tmp_path / "my 'pro$(ject)\n\u00e9"


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    """Return a workspace with an interruptible task `train`; its jobs are killed afterwards."""
    made = training(root)
    yield made
    for folder in made.project.results.glob("*/"):
        if (folder / names.JOB_FILE).is_file():
            kill(folder, timeout_s=120)
        run_dir = str(folder)
        processes.kill_all(lambda: processes.carrying(names.RUN_DIR, run_dir))  # noqa: B023
