"""An image, built where it is not there yet: named by its contents, so one question tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.environments.exclusive import alone
from perdure.environments.sync import choose_variant
from perdure.environments.uv import prepare_state
from perdure.errors import EnvironmentFailed
from perdure.hosts.engine import find_engine
from perdure.hosts.engine_client import DOCKER, is_podman
from perdure.images.recipe import make_recipe
from perdure.images.request import BuildRequest
from perdure.images.tag import Listed, tag_of
from perdure.images.user import choose_user
from perdure.model.image import Image, ImageLock, Stage
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

CONTEXT = "images/context"

_HELD = "images.lock"


def ensure_image(
    project: Project,
    settings: Settings,
    stage: Stage,
    *,
    variant: str | None = None,
    code: Path | None = None,
    report: Report = silent,
) -> Image:
    """Return the image of a project, built if the engine has it not; with `code`, that is in it.

    Where it is there, one question to the engine tells so.

    Raises:
        BuildFailed: a step failed; with its last words, and the declaration that it is for.
        EnvironmentFailed: no such variant; the lock is older than the declarations; no base image.
        MissingProgram: there is no client of a container engine.
        EngineUnreachable: no engine answers, or it went away.
        StorageError: no space.
        TimeoutExpired: the build takes longer than two hours.
        UsageError: nobody but root is left to be the image's user.
    """
    wanted = request_for(project, settings, stage, variant, code, report)
    found = find_engine(settings).inspect_image(wanted.tag)
    if found is not None:
        return wanted.image(found)
    prepare_state(project.state)
    with alone(project.state / _HELD, "building an image", report):
        engine = find_engine(settings, building=True)
        found = engine.inspect_image(wanted.tag)
        if found is None:
            from perdure.images.construction import construct

            folder = project.state / CONTEXT
            found = construct(engine, wanted, folder, settings.indexes, report)
    return wanted.image(found)


def request_for(
    project: Project,
    settings: Settings,
    stage: Stage,
    variant: str | None,
    code: Path | None,
    report: Report,
) -> BuildRequest:
    """Return what `ensure_image` would build; what is locked is made sure of.

    Raises:
        EnvironmentFailed: no such variant; the lock is older than the declarations.
        UsageError: nobody but root is left to be the image's user.
    """
    from perdure.environments.pinned import require_pinned

    # Refused at once, before anything is locked for a user that cannot be.
    choose_user(project, settings)
    lock = require_pinned(project, settings, report=report)
    return _wanted(project, settings, stage, variant, code, lock)


def planned_image(
    project: Project,
    settings: Settings,
    stage: Stage,
    *,
    variant: str | None = None,
    code: Path | Listed | None = None,
) -> tuple[str, str, tuple[str, ...]]:
    """Return an image's tag, its Dockerfile, and the command that would build it. Starts nothing.

    `code` may be a list of its files, where they are not brought together yet.

    Raises:
        EnvironmentFailed: nothing is locked yet, or the lock is older than the declarations.
    """
    from perdure.environments.pinned import check_pinned, read_pinned
    from perdure.images import buildah
    from perdure.images.dockerfile import render
    from perdure.images.secrets import machine_secrets

    lock = read_pinned(project)
    if lock is None:
        raise EnvironmentFailed("there is no perdure.lock yet", hint="perdure lock")
    check_pinned(project, settings)
    folder = code if isinstance(code, Path) else None
    wanted = _wanted(project, settings, stage, variant, folder, lock)
    wanted = replace(wanted, tag=tag_of(wanted.recipe, stage, code))
    secrets = machine_secrets(wanted.recipe.base.release, settings.indexes)
    program = settings.docker.program or DOCKER
    more = buildah.WORDS if is_podman(program) else (wanted.stored(),)
    words = wanted.words(project.state / CONTEXT, [*secrets.words(), *more])
    return wanted.tag, render(wanted.recipe, stage, pegged=code is not None), (program, *words)


def _wanted(
    project: Project,
    settings: Settings,
    stage: Stage,
    variant: str | None,
    code: Path | None,
    lock: ImageLock,
) -> BuildRequest:
    chosen = choose_variant(project, settings, variant)
    recipe = make_recipe(project, settings, lock, chosen, choose_user(project, settings))
    return BuildRequest(recipe, stage, code, tag_of(recipe, stage, code))
