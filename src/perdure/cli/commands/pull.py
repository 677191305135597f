"""`perdure pull`: code, data, notebooks and results, from a host or a bucket."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.moving import ALL, add_moving, move
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `pull` takes."""
    add_moving(parser, "pull")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once all is here."""
    code = move(arguments, console, pushing=False)
    if arguments.what in ("results", ALL) and not arguments.dry_run:
        take_on(arguments.target)
    return code


def take_on(text: str) -> None:
    """Have the jobs that were brought here from a host asked after where they run."""
    from perdure.jobs.elsewhere import adopt
    from perdure.jobs.workspace import open_workspace
    from perdure.moving.address import is_address
    from perdure.targets.registry import open_target

    workspace = open_workspace(Path.cwd())
    results = workspace.project.results
    if not is_address(text) and results.is_dir():
        target = open_target(text, workspace.project, workspace.settings)
        adopt(target, sorted(results.iterdir()))
