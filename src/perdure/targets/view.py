"""What a job's container sees of its project, and may write there: from the disk as it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from perdure.images.mounts import DATA, RESULTS, Mount, project_mounts
from perdure.model.image import ImageUser
from perdure.model.job import JobRecord
from perdure.model.project import Project


def mounts_of(project: Project, job: JobRecord) -> tuple[Mount, ...]:
    """Return the mounts of a job's container, outer folders before inner ones. Reads links.

    Raises:
        UsageError: a link in data leads to a folder that the container needs itself.
    """
    snapshot, image = job.code.snapshot, job.environment.image
    code: Path | None = project.root
    if snapshot is not None:
        code = project.state / "snapshots" / snapshot
    if image is not None and image.pegged:
        code = None
    found = project_mounts(project, code=code, code_writable=snapshot is None)
    # A drill has its run folders elsewhere; and before the first job there is no folder.
    others = [mount for mount in found if mount.target != RESULTS]
    mounts = [*others, Mount(os.path.realpath(job.results), RESULTS, read_only=False)]
    if code is not None and not code.is_dir():
        mounts += _to_be_made(project, mounts)
    return tuple(sorted(mounts, key=lambda mount: PurePosixPath(mount.target).parts))


def _to_be_made(project: Project, known: Sequence[Mount]) -> list[Mount]:
    """Return the mounts of the folders that come with a snapshot which is not made yet."""
    wanted = [
        Mount(os.path.realpath(folder), target, read_only)
        for folder, view, read_only in (
            (project.data, DATA, True),
            (project.results, RESULTS, False),
        )
        for target in (view, os.path.normpath(folder.absolute()))
    ]
    there = {mount.target for mount in known}
    return [mount for mount in wanted if mount.target not in there]


def hand_over(folder: Path, owner: ImageUser | None) -> None:
    """Give what root made in a folder to whom the container runs as. Nobody else could."""
    if owner is None or os.geteuid() != 0:
        return
    for path in (folder.parent, folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid == 0:
                os.chown(path, owner.user_id, owner.group_id, follow_symlinks=False)
