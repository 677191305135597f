"""`perdure lock`: what the project is made from, resolved and written down."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.render import Console

if TYPE_CHECKING:
    from perdure.environments.packages import Packages
    from perdure.jobs.workspace import Workspace
    from perdure.model.image import ImageLock
    from perdure.model.project import Project


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `lock` takes."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--check", action="store_true", help="write nothing; fail if the lock is out of date"
    )
    choice.add_argument(
        "--again",
        action="store_true",
        help="resolve all anew: newest versions, the base image's too, and layers by size",
    )
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the lock is there and fits what the project declares."""
    from perdure.environments.lockfile import read_pinned
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    project = workspace.project
    if arguments.check:
        _check(workspace, console)
        lock = read_pinned(project)
    else:
        lock = _bring_up_to_date(workspace, console, again=arguments.again)
    assert lock is not None
    _tell(project, lock, console, as_json=arguments.json)
    return 0


def _check(workspace: Workspace, console: Console) -> None:
    """Return if the lock fits the declarations; that it has no image is told, and no failure."""
    from perdure.environments.lock import check_lock
    from perdure.environments.lockfile import read_head
    from perdure.environments.pinned import check_pinned

    head = read_head(workspace.project)
    if head is None or head.image or check_lock(workspace.project) is None:
        check_pinned(workspace.project, workspace.settings)
    else:
        console.say("perdure.lock has no image: `perdure lock` adds it where an engine answers")


def _bring_up_to_date(workspace: Workspace, console: Console, *, again: bool) -> ImageLock:
    from perdure.environments.pinned import ensure_pinned

    before = _packages(workspace.project)
    lock = ensure_pinned(workspace.project, workspace.settings, refresh=again, report=console)
    _tell_changes(before, _packages(workspace.project), console)
    return lock


def _packages(project: Project) -> Packages | None:
    """Return what the lock holds, None where there is none, or none that can be read."""
    from perdure.environments.lock import LOCK_FILE
    from perdure.environments.lockfile import read_pinned
    from perdure.environments.packages import of_lock
    from perdure.errors import EnvironmentFailed

    try:
        text = (project.root / LOCK_FILE).read_bytes().decode("utf-8", "replace")
        return of_lock("lock", text, read_pinned(project))
    except (FileNotFoundError, EnvironmentFailed):
        return None


def _tell_changes(before: Packages | None, after: Packages | None, console: Console) -> None:
    from perdure.environments.compare import compare

    if before is None or after is None:
        return
    for change in compare(before, after).items:
        versions = " -> ".join(filter(None, (change.before, change.after)))
        console.say(f"{change.what} {change.kind} {change.name} {versions}")


def _tell(project: Project, lock: ImageLock, console: Console, *, as_json: bool) -> None:
    import hashlib

    from perdure.environments.lock import LOCK_FILE
    from perdure.environments.lockfile import PINNED_FILE, encode

    pinned = hashlib.sha256(encode(lock).encode()).hexdigest()
    files = {LOCK_FILE: lock.uv, PINNED_FILE: pinned}
    if not as_json:
        console.lines([f"{project.root / name}  {digest}" for name, digest in files.items()])
        return
    console.json(
        {
            "path": str(project.root / LOCK_FILE),
            "digest": lock.uv,
            "pinned": {
                "path": str(project.root / PINNED_FILE),
                "digest": pinned,
                "platform": lock.platform,
                "base": lock.base and lock.base.reference,
                "python": lock.python or None,
                "apt": {stage: len(packages) for stage, packages in lock.apt.items()},
                "conda": len(lock.conda),
            },
        }
    )
