"""A Dockerfile as text: pure, the same bytes each time, for engines from Docker 20.10 on.

No syntax line, no ARG, no COPY --link, no heredoc: 20.10 has none of these, and a syntax line would
fetch a front end from a registry. Everything is a literal, so that the text says what is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from perdure.images import layers
from perdure.images.layers import Instruction
from perdure.images.recipe import Recipe
from perdure.model.image import Stage, Tier

GENERATOR = 1

#: What each layer is, to whoever waits for it.
_HEAD = (
    "# Made by perdure from pyproject.toml, uv.lock and perdure.lock; the same bytes each time.",
    "# Build it in the folder it lies in: DOCKER_BUILDKIT=1 docker build .",
)


@dataclass(frozen=True, slots=True)
class Section:
    """A stage of a Dockerfile: its name, what it begins with, and its instructions."""

    name: str
    begins: str
    instructions: tuple[Instruction, ...]

    def text(self) -> str:
        """Return the stage as a Dockerfile has it."""
        lines = [f"FROM {self.begins} AS {self.name}", *(each.text for each in self.instructions)]
        return "\n".join(lines) + "\n"

    def numbered(self) -> Iterator[tuple[int, Instruction]]:
        """Yield the instructions that make a step, with the numbers that BuildKit gives them.

        FROM is a step too where it names an image and not another stage.
        """
        number = 1 if self.name == "base" else 0
        for each in self.instructions:
            if each.text.split(maxsplit=1)[0] in ("RUN", "COPY", "WORKDIR"):
                number += 1
                yield number, each


def render(recipe: Recipe, stage: Stage, *, pegged: bool = False) -> str:
    """Return the Dockerfile of an image; `pegged`: with the code in it."""
    sections = plan(recipe, stage, pegged=pegged)
    return "\n".join(["\n".join(_HEAD) + "\n", *(section.text() for section in sections)])


def plan(recipe: Recipe, stage: Stage, *, pegged: bool = False) -> tuple[Section, ...]:
    """Return the stages of an image's Dockerfile in order; the last one is what is built."""
    sections = [Section("base", recipe.base.reference, _base(recipe))]
    if layers.sources(recipe):
        sections.append(Section("wheels", "base", tuple(_wheels(recipe))))
    sections.append(Section("runtime", "base", tuple(_runtime(recipe))))
    if stage is Stage.DEV:
        sections.append(Section("dev", "runtime", tuple(_dev(recipe))))
    if pegged:
        sections.append(Section("pegged", stage.value, (layers.code(recipe),)))
    return tuple(sections)


def _base(recipe: Recipe) -> tuple[Instruction, ...]:
    found = [layers.settings(recipe)]
    found += layers.debian(recipe, "runtime")
    found += layers.python(recipe)
    return tuple(found)


def _wheels(recipe: Recipe) -> Iterable[Instruction]:
    yield from layers.debian(recipe, "build")
    yield from layers.steps(recipe, "build")
    yield from layers.wheels(recipe)


def _runtime(recipe: Recipe) -> Iterable[Instruction]:
    yield from layers.packages(recipe, Tier.HEAVY)
    yield from layers.packages(recipe, Tier.MID)
    # Who the user is changes less often than the packages of the light layer, so that a new one of
    # these costs one step.
    yield from layers.user(recipe)
    yield from layers.packages(recipe, Tier.LIGHT)
    yield from layers.steps(recipe, "runtime")
    yield from layers.enter(recipe, Stage.RUNTIME)


def _dev(recipe: Recipe) -> Iterable[Instruction]:
    yield Instruction("USER 0:0")
    yield from layers.debian(recipe, "dev")
    yield from layers.development(recipe)
    yield from layers.steps(recipe, "dev")
    yield from layers.enter(recipe, Stage.DEV)
