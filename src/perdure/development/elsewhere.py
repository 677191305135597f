"""A development container on another host: the code is brought there, and what is asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from perdure.development import far
from perdure.development.wishes import GIT_CONFIG, Passed, Wishes
from perdure.errors import UsageError
from perdure.images.mounts import Mount
from perdure.jobs.workspace import storing
from perdure.model.image import ImageUser
from perdure.targets.place import Place

GIT_FILE = "gitconfig"


def refuse_unfit(wishes: Wishes, place: Place) -> None:
    """Return if all that is asked for can be had on the host.

    Raises:
        UsageError: something is of this machine and stays here.
    """
    if place.is_here:
        return
    name = place.host.name
    if wishes.ssh_agent:
        raise UsageError(
            f"`--ssh-agent`: the container is on `{name}`, and your agent is here",
            hint="push and pull from here: the code is kept alike on both sides",
        )
    if wishes.mirrors:
        raise UsageError(
            f"`--mirrors` hands this machine's over; the container is on `{name}`",
            hint=f"configure pip, uv and apt on `{name}`, or pass variables: --env PIP_INDEX_URL",
        )


def carry(place: Place, user: ImageUser, passed: Passed) -> Passed:
    """Return what is passed on, with files of this machine copied to the host of the container."""
    if place.is_here:
        return passed
    mounts = tuple(
        _carried(place, user, mount) if mount.target == GIT_CONFIG else mount
        for mount in passed.mounts
    )
    return replace(passed, mounts=mounts)


def _carried(place: Place, user: ImageUser, mount: Mount) -> Mount:
    with storing("your git configuration"):
        content = Path(mount.source).read_bytes()
        ids = (user.user_id, user.group_id)
        path = place.host.call(far.keep_file, place.root, GIT_FILE, content, *ids)
    return replace(mount, source=os.fspath(path))
