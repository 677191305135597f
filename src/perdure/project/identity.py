"""What tells one person's copy of a project from everybody else's: drawn once, kept in `.perdure`.

Two people may have a project at the same path, each on a machine or in a container of their own,
and share a volume or a bucket: by the path alone they would have one folder there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from perdure.model.project import Project

_FILE = "identity"
_IGNORE_ALL = "*\n"


def make_state(project: Project) -> Path:
    """Return the folder of what perdure keeps for itself, made and hidden from git.

    Raises:
        OSError: it cannot be written, or something else is in its place.
    """
    project.state.mkdir(parents=True, exist_ok=True)
    hidden = project.state / ".gitignore"
    if not hidden.exists():
        hidden.write_text(_IGNORE_ALL)
    return project.state


def identity_of(project: Project) -> str:
    """Return what this copy of a project is known by; drawn, if there is none yet.

    Touches the disk; where nothing can be kept there, "".
    """
    file = project.state / _FILE
    try:
        if not file.exists():
            _draw(make_state(project), file)
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _draw(state: Path, file: Path) -> None:
    draft = state / f".{_FILE}-{secrets.token_hex(4)}"
    with draft.open("w") as writing:
        writing.write(secrets.token_hex(8))
        writing.flush()
        # A loss of power leaves all of it or nothing: with half of it jobs would be looked for
        # elsewhere.
        os.fsync(writing.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(draft, file)  # or somebody was first
    draft.unlink()
