"""A command where a job runs: in its folder, with its environment."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.jobs.launch import target_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord


def attach(workspace: Workspace, record: JobRecord, argv: Sequence[str]) -> int:
    """Return the exit code of a command run beside the job, with this terminal; () is a shell.

    Raises:
        MissingProgram: there is no such command.
    """
    return target_of(workspace, record).exec(record, argv)
