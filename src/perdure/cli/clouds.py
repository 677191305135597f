"""Clouds on the command line: which target is meant, and what belongs to its provider."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.targets.cloud import Cloud


def add_cloud(parser: argparse.ArgumentParser) -> None:
    """Add which cloud is meant."""
    parser.add_argument(
        "--on", dest="target", required=True, metavar="TARGET", help="a target of a cloud"
    )


def open_cloud_named(name: str) -> Cloud:
    """Return the cloud of that name for the project around.

    Raises:
        UsageError: there is no such target, or it is none of a cloud.
    """
    from perdure.jobs.workspace import open_workspace
    from perdure.targets.cloud import Cloud
    from perdure.targets.registry import open_target

    workspace = open_workspace(Path.cwd())
    target = open_target(name, workspace.project, workspace.settings)
    if not isinstance(target, Cloud):
        raise UsageError(f"`{name}` is no cloud", hint="perdure targets")
    return target
