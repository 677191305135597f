"""`perdure rerun`: a job again, exactly as it was recorded, and whether it comes to the same."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_detach, add_job
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `rerun` takes."""
    add_job(parser)
    add_detach(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 if the results are the same, the job's own exit code if it did not get so far.

    Raises:
        DifferenceError: they are not the same.
    """
    from perdure.cli.starting import follow_started
    from perdure.jobs.find import find_job
    from perdure.jobs.launch import rerun, start
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    before = find_job(workspace, arguments.job)
    again = rerun(workspace, before, report=console)
    start(workspace, again, report=console)
    code = follow_started(again, console, detach=arguments.detach)
    if code or arguments.detach:
        return code
    console.lines([verdict(before.folder, again.folder)])
    return 0


def verdict(before: Path, again: Path) -> str:
    """Return the line that says that both came to the same.

    Raises:
        DifferenceError: they did not, or there is nothing to compare.
    """
    from perdure.errors import DifferenceError
    from perdure.runtime.result import read_result

    first, second = read_result(str(before)), read_result(str(again))
    hint = f"perdure why {before.name} {again.name}"
    if first is None or second is None:
        missing = before.name if first is None else again.name
        raise DifferenceError(f"nothing to compare: `{missing}` saved no result", hint=hint)
    if (first.weights, first.metrics, first.step) == (second.weights, second.metrics, second.step):
        return f"identical: weights {first.weights[:16]}, {first.rows} metric rows"
    raise DifferenceError(
        f"`{again.name}` came to weights {second.weights[:16]} at step {second.step}, "
        f"`{before.name}` to {first.weights[:16]} at step {first.step}",
        hint=hint,
    )
