"""A recipe made by hand, and the images that the tests make of it on real engines."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from perdure.hosts.engine import ImageFacts, find_engine
from perdure.images.construction import construct, layers_digest
from perdure.images.recipe import Recipe, tiers_of
from perdure.images.request import BuildRequest
from perdure.images.tag import tag_of
from perdure.images.uv_binary import this_platform
from perdure.model.image import (
    AptPackage,
    Base,
    ImageUser,
    PythonSource,
    Requirement,
    Stage,
    Tier,
)
from perdure.model.report import Report, silent
from perdure.model.settings import Settings
from tests.engines.engines import RealEngine

BASE = "debian:bookworm-slim"
SIX = Requirement(
    "six",
    "1.17.0",
    ("sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",),
)
MARKUPSAFE = Requirement(
    "markupsafe",
    "3.0.2",
    ("sha256:a123e330ef0853c6e822384873bef7507557d8e4a082961e1defa947aa59ba84",),
)
INICONFIG = Requirement(
    "iniconfig",
    "2.3.1",
    ("sha256:9121e2c1fdb355232495be3194c8dfe87ccc2d5dee45947b78e68f499790d7a7",),
)
GOMP = AptPackage("libgomp1", "12.2.0-14", "libgomp1_12.2.0-14_amd64.deb", "ab" * 32, 116_000)

RECIPE = Recipe(
    project="cats",
    package="cats",
    variant="cpu",
    user=ImageUser(1000, 1001),
    platform="linux/amd64",
    base=Base(BASE, BASE, "ba" * 32, "bookworm", "3.11.2"),
    python="3.11.2",
    python_source=PythonSource.BASE,
    tiers=tiers_of([SIX, MARKUPSAFE], {"markupsafe": Tier.MID}),
    uv="0.13.8",
    development=(INICONFIG,),
)


def recipe_for(recipe: Recipe = RECIPE, **changes: object) -> Recipe:
    """Return the recipe on the base image of the engine that the variables lead to."""
    facts = find_engine(Settings()).inspect_image(BASE)
    assert facts is not None
    base = replace(RECIPE.base, layers=layers_digest(facts.layers))
    return replace(recipe, base=base, platform=this_platform(), **changes)  # type: ignore[arg-type]


def built(
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    *,
    code: Path | None = None,
    report: Report = silent,
    fresh: bool = False,
) -> tuple[BuildRequest, ImageFacts]:
    """Return what was asked for, and the image that came of it."""
    engine = find_engine(Settings(), building=True)
    wanted = BuildRequest(recipe, stage, code, tag_of(recipe, stage, code))
    return wanted, construct(engine, wanted, folder, {}, report, fresh=fresh)


def inside(engine: RealEngine, tag: str, *words: str, user: str | None = None) -> str:
    """Return what a command prints in a container of the image."""
    whom = [f"--user={user}"] if user else []
    return engine.docker("run", "--rm", "--network=none", *whom, tag, *words)


@contextlib.contextmanager
def removed(engine: RealEngine) -> Iterator[str]:
    """Yield a name for a project of a test; its images are gone afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    try:
        yield name
    finally:
        listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"perdure/{name}")
        for tag in listed.split():
            engine.docker("rmi", "-f", tag, check=False)
