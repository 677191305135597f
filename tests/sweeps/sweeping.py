"""Sweeps of small programs, and waiting for them."""

from __future__ import annotations

from pathlib import Path

from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.sweep import Search
from perdure.sweeps.control import drive
from perdure.sweeps.holding import is_driven
from perdure.sweeps.notation import parse_axes
from perdure.sweeps.standing import Standing, standing
from perdure.sweeps.submit import SweepRequest, outline, submit
from tests.waiting import until


def swept(
    workspace: Workspace,
    *words: str,
    task: str = "train",
    arguments: tuple[str, ...] = (),
    name: str = "sweep",
    max_running: int = 2,
    retries: int = 0,
    search: Search | None = None,
) -> Path:
    """Return the folder of a sweep that was just submitted; nothing drives it yet."""
    job = JobRequest(task, arguments, grace_s=5.0, retries=retries, seed=1)
    request = SweepRequest(
        job, parse_axes(words), search or Search(), name=name, max_running=max_running
    )
    return submit(workspace, outline(workspace, request))


def driven(workspace: Workspace, *words: str, **options: object) -> Path:
    """Return the folder of a sweep that is driven."""
    folder = swept(workspace, *words, **options)  # type: ignore[arg-type]
    assert drive(workspace.project, folder)
    return folder


def over(workspace: Workspace, folder: Path, patience_s: float = 100.0) -> Standing:
    """Return how a sweep stands once its driver has ended."""
    until(lambda: not is_driven(folder), patience_s=patience_s)
    return standing(workspace, folder)
