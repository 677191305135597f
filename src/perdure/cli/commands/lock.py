"""`perdure lock`: the project's environment, resolved."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_json
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `lock` takes."""
    parser.add_argument(
        "--again", action="store_true", help="resolve even where the lock fits pyproject.toml"
    )
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the lock is there and fits pyproject.toml."""
    from perdure.environments.lock import LOCK_FILE, lock_packages
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    project, settings = workspace.project, workspace.settings
    lock = lock_packages(project, settings, refresh=arguments.again, report=console)
    path = project.root / LOCK_FILE
    if arguments.json:
        console.json({"path": str(path), "digest": lock.uv})
    else:
        console.lines([f"{path}  {lock.uv}"])
    return 0
