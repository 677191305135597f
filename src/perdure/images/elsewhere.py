"""An image on the engine of another host: built there, or brought there from here.

What is brought is what lacks: layers that are there already are not sent. The base image comes from
here where the engine there has another one of that name, and this machine's engine has the right
one; it gets a name of perdure's own, so that nobody else's image is replaced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.environments.exclusive import alone
from perdure.environments.uv import prepare_state
from perdure.errors import BuildFailed, EngineUnreachable, MissingProgram, TimeoutExpired
from perdure.hosts.engine import Engine, find_engine
from perdure.images.build import ensure_image, request_for
from perdure.images.construction import own_base, present_base
from perdure.images.failure import MIRRORS
from perdure.images.request import BuildRequest
from perdure.model.image import Base, Image, Stage
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

BUILD, SHIP = "build", "ship"
_HELD = "images.lock"
_TAG_S = 60.0


@dataclass(frozen=True, slots=True)
class There:
    """The engine of another host: what users call the host, and the settings that lead to it.

    `here` leads to this machine's. `how`: `build` images there, `ship` them from here; None: build
    them, but for those that are here.
    """

    name: str
    settings: Settings
    here: Settings
    how: str | None = None


def ensure_image_there(
    project: Project,
    there: There,
    stage: Stage,
    *,
    variant: str | None = None,
    code: Path | None = None,
    report: Report = silent,
) -> Image:
    """Return the image as the engine there has it, built there or shipped if it had it not.

    Raises:
        As `build.ensure_image`, and as `ship_engine.send`.
    """
    # Where it is built here, what is locked now is locked by what is here.
    locked_by = _alike(there) if there.how == SHIP else there.settings
    wanted = request_for(project, locked_by, stage, variant, code, report)
    other = find_engine(there.settings)
    if (found := other.inspect_image(wanted.tag)) is not None:
        return wanted.image(found)
    own = find_engine(there.here) if there.how == SHIP else engine_here(there.here)
    shipping = own is not None and (there.how == SHIP or _has(own, wanted, there))
    chosen = _alike(there) if shipping else there.settings
    if own is not None:
        sides = (other, own) if shipping else (own, other)
        _bring_base(*sides, wanted.recipe.base, "here" if shipping else f"to {there.name}", report)
    with _naming(there):
        image = ensure_image(project, chosen, stage, variant=variant, code=code, report=report)
    if own is not None and shipping:
        prepare_state(project.state)
        with alone(project.state / _HELD, "shipping an image", report):
            _ship(own, other, wanted.tag, there.name, report)
        found = other.inspect_image(wanted.tag)
    return image if found is None else wanted.image(found)


def engine_here(settings: Settings) -> Engine | None:
    """Return this machine's engine, None where there is none that answers."""
    try:
        return find_engine(settings)
    except (EngineUnreachable, MissingProgram, TimeoutExpired):
        return None


def _has(own: Engine, wanted: BuildRequest, there: There) -> bool:
    return there.how != BUILD and own.inspect_image(wanted.tag) is not None


def _alike(there: There) -> Settings:
    """Return the settings of this machine's engine, with the ids of the other one's user.

    What is made by it for whom containers run as there has the same tag.
    """
    ids = there.settings.docker
    docker = replace(there.here.docker, user_id=ids.user_id, group_id=ids.group_id)
    return replace(there.here, docker=docker)


def _ship(own: Engine, other: Engine, tag: str, name: str, report: Report) -> None:
    from perdure.images.ship_engine import Side, send
    from perdure.images.ship_image import read_image

    source = Side(own, own.version().storage, "this engine")
    target = Side(other, other.version().storage, name)
    send(source, target, tag, read_image(own, tag), report)


def _bring_base(source: Engine, target: Engine, base: Base, name: str, report: Report) -> None:
    """Bring the base image of the lock to the engine that is to build, if the other one has it.

    Nothing where it is there. Where neither has it, the build tells what is to be done.
    """
    known = None if present_base(target, base) else present_base(source, base)
    if known is None:
        return
    tag = own_base(base)
    if source.run(["image", "tag", known, tag], timeout_s=_TAG_S).returncode == 0:
        report(f"bringing the base image {base.name} {name}")
        _ship(source, target, tag, name.removeprefix("to "), report)


@contextlib.contextmanager
def _naming(there: There) -> Iterator[None]:
    """Have an error that the network over there causes say what helps."""
    try:
        yield
    except BuildFailed as error:
        if error.hint == MIRRORS and there.how != SHIP:
            error.hint = (
                f"is the index or mirror reachable from `{there.name}`? Where it is not: "
                f'`images = "ship"` under `[targets.{there.name}]` builds here and sends the image'
            )
        raise
