"""A command where a job runs: in its folder, with its environment."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.jobs.launch import plan_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.targets.registry import open_target


def attach(workspace: Workspace, record: JobRecord, argv: Sequence[str]) -> int:
    """Return the exit code of a command run beside the job, with this terminal.

    Raises:
        MissingProgram: there is no such command.
    """
    return open_target(record.target, workspace.project).exec(plan_of(workspace, record), argv)
