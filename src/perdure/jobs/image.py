"""The image of a job: the project's for a new one, the recorded one for one that exists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.errors import EnvironmentFailed
from perdure.jobs.snapshot import Tree
from perdure.jobs.workspace import Workspace
from perdure.model.image import Image, Stage
from perdure.model.job import EnvironmentUsed, ImageUsed, JobRecord
from perdure.model.report import Report


def image_for(
    workspace: Workspace, variant: str | None, report: Report, *, code: Path | None = None
) -> EnvironmentUsed:
    """Return the project's image, locked and built if need be; with `code`, the code is in it.

    Raises:
        EnvironmentFailed: it cannot be had.
    """
    from perdure.environments.lock import lock_digest
    from perdure.images.build import ensure_image

    project = workspace.project
    image = ensure_image(
        project, workspace.settings, Stage.RUNTIME, variant=variant, code=code, report=report
    )
    return EnvironmentUsed(lock_digest(project), image.variant, "", None, _used(image))


def planned_image(
    workspace: Workspace, variant: str | None, tree: Tree | None = None
) -> EnvironmentUsed:
    """Return the image that `image_for` would give, by its tag; builds nothing.

    `tree` is the code that is to be in it, None where it is not.

    Raises:
        EnvironmentFailed: nothing is locked yet.
    """
    from perdure.environments.lock import lock_digest
    from perdure.environments.sync import choose_variant
    from perdure.images.build import planned_image as plan_image
    from perdure.images.context import listed_files
    from perdure.images.user import choose_user

    project, settings = workspace.project, workspace.settings
    entries = {} if tree is None else tree.entries
    listed = listed_files((path, f"{each.kind}:{each.content}") for path, each in entries.items())
    code = None if tree is None else listed
    tag = plan_image(project, settings, Stage.RUNTIME, variant=variant, code=code)[0]
    user = choose_user(project, settings)
    image = ImageUsed(tag, "", user.user_id, user.group_id, pegged=code is not None)
    chosen = choose_variant(project, settings, variant)
    return EnvironmentUsed(lock_digest(project), chosen, "", None, image)


def restore_image(workspace: Workspace, record: JobRecord, report: Report) -> EnvironmentUsed:
    """Return the image of a recorded job, built again from the same lock if its engine has lost it.

    Raises:
        EnvironmentFailed: it is gone, and the lock is another one now.
    """
    from perdure.environments.lock import lock_digest
    from perdure.hosts.engine import find_engine
    from perdure.jobs.snapshot import snapshot_folder

    used = record.environment
    assert used.image is not None  # what the caller asked
    if find_engine(workspace.settings).inspect_image(used.image.reference) is not None:
        return used
    project = workspace.project
    if lock_digest(project) != used.lock:
        commit = record.code.commit
        raise EnvironmentFailed(
            f"the image of `{record.job}` is gone (`{used.image.tag}`), and the lock has changed "
            "since it was built",
            hint=f"git checkout {commit}, then perdure build" if commit else "perdure run",
        )
    report(f"the image of `{record.job}` is gone; building it again from its lock")
    snapshot = record.code.snapshot if used.image.pegged else None
    code = None if snapshot is None else snapshot_folder(project, snapshot)
    again = image_for(workspace, used.variant, report, code=code)
    if again.image is not None and again.image.tag != used.image.tag:
        report(f"warning: it is built otherwise now: `{again.image.tag}`")
    return replace(again, python=used.python)


def _used(image: Image) -> ImageUsed:
    user = image.user
    return ImageUsed(image.tag, image.id, user.user_id, user.group_id, image.pegged)
