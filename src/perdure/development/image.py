"""The image of a development container, planned and built, and what is in it by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perdure.development.contents import contents_of
from perdure.development.standing import Session
from perdure.environments.sync import choose_variant
from perdure.images.recipe import Recipe, make_recipe
from perdure.images.user import choose_user
from perdure.jobs.workspace import Workspace
from perdure.model.image import Image, Stage
from perdure.model.report import Report


def plan_image(
    session: Session, variant: str | None, *, report: Report
) -> tuple[str, Mapping[str, str]]:
    """Return the tag the project's image would have now, and what would be in it. Builds nothing.

    A lock is made where there is none.

    Raises:
        EnvironmentFailed: the lock is older than the declarations.
    """
    from perdure.images.tag import tag_of

    recipe = recipe_of(_there(session), variant, report=report)
    return tag_of(recipe, Stage.DEV), contents_of(recipe)


def build_image(
    session: Session, variant: str | None, *, report: Report
) -> tuple[Image, Mapping[str, str]]:
    """Return the project's image, built if it was not there, and what is in it.

    Raises:
        EnvironmentFailed: the lock is older than the declarations, or a step of the build failed.
    """
    from perdure.jobs.image import ensure_image_on

    recipe = recipe_of(_there(session), variant, report=report)
    host, workspace = session.place.host, session.workspace
    image = ensure_image_on(host, workspace, Stage.DEV, variant=variant, report=report)
    return image, contents_of(recipe)


def recipe_of(workspace: Workspace, variant: str | None, *, report: Report) -> Recipe:
    """Return the recipe of the project's images; a lock is made where there is none.

    Raises:
        EnvironmentFailed: the lock is older than the declarations, or there is no such variant.
    """
    from perdure.environments.pinned import require_pinned

    project, settings = workspace.project, workspace.settings
    lock = require_pinned(project, settings, report=report)
    chosen = choose_variant(project, settings, variant)
    return make_recipe(project, settings, lock, chosen, choose_user(project, settings))


def _there(session: Session) -> Workspace:
    """Return the workspace as the engine of the container is used from."""
    return replace(session.workspace, settings=session.settings)
