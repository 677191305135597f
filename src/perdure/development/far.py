"""What a development container needs of the host it runs on, asked and made there.

Each function is called over a connection, or here: `root` is the project's folder on that host.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from perdure.images.mounts import project_mounts
from perdure.model.project import Project
from perdure.targets.container import half_of_memory

HOME = "home"


def ground(root: str) -> dict[str, Any]:
    """Return who asks there and in which groups, the memory, and what the container sees.

    Raises:
        UsageError: a link in data leads to a folder that the container needs itself.
    """
    project = project_in(root)
    found = project_mounts(project, code=project.root, code_writable=True, data_writable=True)
    return {
        "user": os.getuid(),
        "groups": os.getgroups(),
        "shm_bytes": half_of_memory(),
        "mounts": [[mount.source, mount.target, mount.read_only] for mount in found],
    }


def make_folders(root: str, bashrc: str, user_id: int, group_id: int) -> None:
    """Make what the container needs of folders: one the engine makes would be root's.

    Raises OSError where the disk refuses.
    """
    project = project_in(root)
    home = project.state / HOME
    made = [path for path in (project.results, project.state, home) if not path.is_dir()]
    for folder in made:
        folder.mkdir(parents=True)
    for file, text in ((project.state / ".gitignore", "*\n"), (home / ".bashrc", bashrc)):
        if not file.exists():
            file.write_text(text)
            made.append(file)
    _give(made, user_id, group_id)


def keep_file(root: str, name: str, content: bytes, user_id: int, group_id: int) -> str:
    """Return the path of a file that was written for the container, for its user alone."""
    path = project_in(root).state / name
    draft = path.with_name(f".{name}-{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    _give([draft], user_id, group_id)
    draft.replace(path)
    return os.fspath(path)


def project_in(root: str) -> Project:
    """Return the project in a folder, as far as its folders are concerned. Pure."""
    path = Path(root)
    return Project(path, path.name, "", {})


def _give(made: list[Path], user_id: int, group_id: int) -> None:
    if os.getuid() == 0:
        for path in made:
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, user_id, group_id)
