"""What `sync` needs to know of a target, and how it tells what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.cli.words import counted
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.hosts.ssh import Ssh
    from perdure.jobs.workspace import Workspace
    from perdure.sync.once import Destination, Summary

BRINGS_OWN = "none"


def chosen_target(workspace: Workspace, name: str | None) -> str:
    """Return the target that is meant: the only one there is, if none is named.

    Raises:
        UsageError: there is none, or more than one, or it is this machine.
    """
    from perdure.targets.registry import TARGETS, unknown_target

    known = workspace.settings.targets
    if name is None and len(known) == 1:
        return next(iter(known))
    if name is None:
        listed = ", ".join(sorted(known)) or "there is none yet: perdure targets"
        raise UsageError("which target is meant? name it with `--on`", hint=listed)
    if name in TARGETS:
        raise UsageError(f"`{name}` is this machine: its code is the code", hint="perdure targets")
    if name not in known:
        raise unknown_target(name, workspace.settings)
    if known[name].kubernetes is not None:
        raise UsageError(
            f"`{name}` is a cluster: jobs there run snapshots, which come with them",
            hint=f"perdure run --on {name}",
        )
    if not known[name].host:
        raise UsageError(f"`{name}` is this machine: its code is the code", hint="perdure targets")
    if known[name].sync == BRINGS_OWN:
        raise UsageError(
            f'`{name}` has `sync = "none"`: its code comes there by other means',
            hint=f'`sync = "live"` in [targets.{name}]',
        )
    return name


def sync_destination(workspace: Workspace, name: str) -> tuple[Ssh, Destination]:
    """Return the host of a target, and where the project's code lies there. Asks nobody."""
    from perdure.hosts.ssh import Ssh
    from perdure.sync.channel import boot_words
    from perdure.sync.once import Destination
    from perdure.targets.place import folder_name

    wanted = workspace.settings.targets[name]
    host = Ssh(name, wanted.host, wanted.root)
    folder = folder_name(workspace.project.root, wanted.host)
    root = f"{wanted.root.rstrip('/')}/{folder}"
    return host, Destination(host.command(boot_words()), root)


def told(done: Summary, target: str) -> str:
    """Return the line that says what was done."""
    parts = [
        (done.sent, "sent"),
        (done.deleted, "deleted there"),
        (done.fetched, "fetched"),
        (done.removed, "removed here"),
    ]
    listed = ", ".join(f"{counted(count, 'file')} {word}" for count, word in parts if count)
    line = f"`{target}`: {listed or 'up to date'} ({done.seconds:.1f} s)"
    if done.skipped:
        line += f"; {counted(len(done.skipped), 'path')} skipped: perdure sync status"
    return line
