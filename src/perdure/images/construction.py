"""An image made by an engine: the base looked at first, the tag given last, then the result."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from perdure.errors import BuildFailed, PerdureError, TimeoutExpired
from perdure.hosts.engine import Engine, ImageFacts
from perdure.hosts.engine_client import PODMAN
from perdure.images import buildah
from perdure.images.context import DOCKERFILE, stage_context
from perdure.images.dockerfile import plan
from perdure.images.failure import base_differs, base_missing, failure
from perdure.images.recipe import Recipe
from perdure.images.request import BuildRequest
from perdure.images.secrets import Secrets, machine_secrets
from perdure.images.shell import EPOCH
from perdure.images.steps import Steps
from perdure.model.image import Base
from perdure.model.report import Report
from perdure.model.settings import Index

BUILD_S = 7200.0
PULL_S = 3600.0
_UNTAG_S = 60.0
_VARIABLES = {
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",  # these have the time of day in them
    "SOURCE_DATE_EPOCH": str(EPOCH),
}


def construct(
    engine: Engine,
    wanted: BuildRequest,
    folder: Path,
    indexes: Mapping[str, Index],
    report: Report,
    *,
    fresh: bool = False,
) -> ImageFacts:
    """Return the image as the engine has it once it is built in that folder.

    The engine gives the tag when all steps are done: what is half built has no name. `fresh`: every
    step is done again.

    Raises:
        BuildFailed: a step failed.
        EnvironmentFailed: the base image cannot be had, or is another one than the lock's.
        EngineUnreachable: the engine went away.
        StorageError: no space, here or there.
        TimeoutExpired: it took two hours.
    """
    recipe = wanted.recipe
    report(f"building `{wanted.tag}`")
    base = _present_base(engine, recipe, report)
    stage_context(recipe, wanted.stage, folder, wanted.code, report=report)
    _name_base(folder / DOCKERFILE, recipe.base, base)
    secrets = machine_secrets(recipe.base.release, indexes)
    more = [*secrets.words(), *_more(secrets, fresh=fresh)]
    variables = {**_VARIABLES, **secrets.environ()}
    if engine.kind == PODMAN:
        buildah.name_contents(folder / DOCKERFILE)
        more += buildah.WORDS
        variables |= buildah.own_folder(engine.environ)
    else:
        more.append(wanted.stored())
    able = replace(engine, environ={**engine.environ, **variables})
    try:
        _perform(able, wanted, wanted.words(folder, more), report)
    except BaseException:
        _take_tag_away(engine, wanted.tag)
        raise
    return _verified(engine, wanted)


def _perform(engine: Engine, wanted: BuildRequest, words: Sequence[str], report: Report) -> None:
    sections = plan(wanted.recipe, wanted.stage, pegged=wanted.pegged)
    steps = Steps(sections, report)
    told = buildah.as_buildkit(sections, steps) if engine.kind == PODMAN else steps
    try:
        done = engine.run(words, timeout_s=BUILD_S, on_line=told)
    except TimeoutExpired as error:
        raise TimeoutExpired(
            f"the image was not built within {BUILD_S / 3600:g} hours; last: {steps.doing}",
            hint="perdure build goes on with what is done",
        ) from error
    if done.returncode != 0:
        raise failure(wanted.recipe, steps, done.returncode, engine.endpoint)


def _take_tag_away(engine: Engine, tag: str) -> None:
    """See to it that nothing has the tag: one engine gives it before it has unpacked the image."""
    with contextlib.suppress(PerdureError):
        if engine.inspect_image(tag) is not None:
            engine.run(["image", "rm", "--force", tag], timeout_s=_UNTAG_S)


def _more(secrets: Secrets, *, fresh: bool) -> list[str]:
    """Return what else the engine is told."""
    # A tunnel or a mirror at this machine's loopback is not at that of a container's own network.
    network = ["--network=host"] if secrets.loopback else []
    return [*network, *(["--no-cache"] if fresh else [])]


def _present_base(engine: Engine, recipe: Recipe, report: Report) -> str:
    """Return the name under which the engine has the base image of the lock, pulled if need be."""
    base = recipe.base
    present = present_base(engine, base)
    if present is not None:
        return present
    if engine.inspect_image(base.reference) is not None:
        raise base_differs(recipe)
    report(f"pulling the base image {base.name}")
    words = ["pull", f"--platform={recipe.platform}", base.reference]
    done = engine.run(words, timeout_s=PULL_S)
    if done.returncode != 0:
        raise base_missing(recipe, done.complaint)
    facts = engine.inspect_image(base.reference)
    if facts is None or layers_digest(facts.layers) != base.layers:
        raise base_differs(recipe)
    return base.reference


def present_base(engine: Engine, base: Base) -> str | None:
    """Return the name under which an engine has the base image of a lock, None where it has not."""
    for name in dict.fromkeys((base.reference, base.name, own_base(base))):
        facts = engine.inspect_image(name)
        if facts is not None and layers_digest(facts.layers) == base.layers:
            return name
    return None


def own_base(base: Base) -> str:
    """Return perdure's own name for a base image: engines have several of one name. Pure."""
    return f"perdure/base:{base.layers[:16]}"


def _name_base(dockerfile: Path, base: Base, name: str) -> None:
    """Have the Dockerfile begin with the base under the name that this engine knows it by."""
    if name != base.reference:
        text = dockerfile.read_text(encoding="utf-8")
        dockerfile.write_text(text.replace(f"FROM {base.reference} ", f"FROM {name} ", 1), "utf-8")


def _verified(engine: Engine, wanted: BuildRequest) -> ImageFacts:
    found = engine.inspect_image(wanted.tag)
    if found is None or not _begins_with(found.layers, wanted.recipe.base):
        raise BuildFailed(
            f"the engine says that it built `{wanted.tag}`, and has no such image of that base",
            hint="perdure doctor",
        )
    return found


def layers_digest(layers: Sequence[str]) -> str:
    """Return the digest of an image's contents that all engines agree on."""
    return hashlib.sha256("\n".join(layers).encode()).hexdigest()


def _begins_with(layers: Sequence[str], base: Base) -> bool:
    return any(layers_digest(layers[:count]) == base.layers for count in range(1, len(layers) + 1))
