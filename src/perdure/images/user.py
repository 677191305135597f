"""As whom a container runs: never as root."""

from __future__ import annotations

import os

from perdure.errors import UsageError
from perdure.model.image import ImageUser
from perdure.model.project import Project
from perdure.model.settings import Settings

_HINT = (
    "give the project an owner (`chown -R 1000:1000 .`), or set `user_id` and `group_id` under "
    "`[docker]` in .perdure/local.toml"
)


def choose_user(project: Project, settings: Settings) -> ImageUser:
    """Return the user that a project's containers run as, so that results belong to a person.

    The one in the settings; else the one who runs this; root's place is taken by the owner of the
    project's folder. Reads that folder's owner.

    Raises:
        UsageError: nobody but root is left.
    """
    user = found_user(project, settings)
    for name, number in (("user", user.user_id), ("group", user.group_id)):
        if number == 0:
            raise UsageError(
                f"containers do not run as root, and the {name} id is 0: `{project.root}` belongs "
                "to root",
                hint=_HINT,
            )
    return user


def found_user(project: Project, settings: Settings) -> ImageUser:
    """Return the same as `choose_user`, root where nobody else is left: who starts nothing asks so.

    Reads the owner of the project's folder.
    """
    owner = project.root.stat()
    return ImageUser(
        _first(settings.docker.user_id, os.getuid(), owner.st_uid),
        _first(settings.docker.group_id, os.getgid(), owner.st_gid),
    )


def _first(chosen: int | None, own: int, owner: int) -> int:
    """Return the number to take; one that was chosen is taken even if it is refused later."""
    if chosen is not None:
        return chosen
    return own or owner
