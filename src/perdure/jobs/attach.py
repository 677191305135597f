"""A command where a job runs: in its folder, with its environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure.jobs.launch import target_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord


def attach(
    workspace: Workspace,
    record: JobRecord,
    argv: Sequence[str],
    say: Callable[[str], object] = lambda _: None,
) -> int:
    """Return the exit code of a command run beside the job, with this terminal; () is a shell.

    `say` is told what is waited for before that.

    Raises:
        MissingProgram: there is no such command.
    """
    from perdure.targets.cloud import Cloud

    target = target_of(workspace, record)
    if isinstance(target, Cloud):
        say(f"asking the machine of `{record.job}` to let us in")
    return target.exec(record, argv)
