"""Clouds on the command line: which target is meant, and what belongs to its provider."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.cli.render import Console
    from perdure.jobs.workspace import Workspace
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


def pull_results(workspace: Workspace, arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the results of a cloud's jobs are here: what they wrote, and what they say.

    Raises:
        UsageError: a job that is named is not on that target.
    """
    from perdure.cli.moving import named_job
    from perdure.jobs.witness import read_witness

    named = [named_job(workspace, job) for job in arguments.jobs]
    done = []
    for folder in sorted(workspace.project.results.glob("*")):
        witness = read_witness(folder)
        is_its = witness is not None and witness.target == arguments.target
        if is_its and (not named or folder.name in named):
            done.append(folder.name)
            if not arguments.dry_run:
                pull_job(workspace, folder, arguments, console)
    lacking = [job for job in named if job not in done]
    if lacking:
        raise UsageError(f"job `{lacking[0]}` is not on `{arguments.target}`", hint="perdure ps -a")
    if arguments.json:
        console.json(done)
    return 0


def pull_job(
    workspace: Workspace, folder: Path, arguments: argparse.Namespace, console: Console
) -> None:
    """Bring what a job wrote here, with its newest checkpoint if that is asked for."""
    from perdure.jobs.elsewhere import target_in
    from perdure.jobs.mirror import bring
    from perdure.targets.cloud import Cloud
    from perdure.targets.protocol import Handle

    target = target_in(folder, workspace.project, arguments.target, workspace.settings)
    assert isinstance(target, Cloud)  # its witness names a bucket
    bring(folder)
    console.say(f"pulling `{folder.name}` from {target.address}")
    handle = Handle(target.name, folder.name, folder)
    target.collect(handle)
    if arguments.checkpoints:
        target.collect_checkpoint(handle, console.say)
