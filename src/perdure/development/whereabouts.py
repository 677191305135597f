"""On which host a project's development container is, as its user last said."""

from __future__ import annotations

from perdure.jobs.workspace import Workspace, make_state_folder, storing
from perdure.targets.registry import TARGETS

_FILE = "development"


def chosen_host(workspace: Workspace, on: str | None) -> str | None:
    """Return the target that the container is on, None for this machine. Reads the disk.

    `on` is what was asked for just now; None: where it was brought up last.
    """
    if on is not None:
        return None if on in TARGETS else on
    try:
        return (workspace.project.state / _FILE).read_text().strip() or None
    except OSError:
        return None


def remember_host(workspace: Workspace, on: str | None) -> None:
    """Note where the container is from now on. Touches the disk."""
    file = workspace.project.state / _FILE
    with storing("where the container is"):
        if on is None:
            file.unlink(missing_ok=True)
        else:
            make_state_folder(workspace.project)
            file.write_text(f"{on}\n")
