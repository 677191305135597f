"""What is to be built, and the words that have an engine's client build it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.hosts.engine import ImageFacts
from perdure.images.context import DOCKERFILE
from perdure.images.recipe import Recipe
from perdure.model.image import Image, Stage


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """An image that is wanted: its recipe and stage, its tag, and the code if it is to be in it."""

    recipe: Recipe
    stage: Stage
    code: Path | None
    tag: str

    @property
    def pegged(self) -> bool:
        """Return whether the image carries the code."""
        return self.code is not None

    def words(self, folder: Path, more: Sequence[str]) -> tuple[str, ...]:
        """Return the client's words for a build in that folder. Pure."""
        return (
            *("build", "--progress=plain", f"--platform={self.recipe.platform}"),
            *(f"--tag={self.tag}", f"--file={folder / DOCKERFILE}", *more, str(folder)),
        )

    def stored(self) -> str:
        """Return the word by which Docker stores what it built: as it does by itself, but quicker.

        The containerd store compresses: at gzip's usual level that takes as long as all steps
        together, and 40 % of that at its quickest, for files an eighth larger. The classic store
        compresses nothing. Pure.
        """
        # The client names the image of the exporters that it knows only.
        return f"--output=type=moby,name={self.tag},compression=gzip,compression-level=1"

    def image(self, facts: ImageFacts) -> Image:
        """Return the image that an engine has under the tag."""
        recipe = self.recipe
        return Image(self.tag, facts.id, self.stage, recipe.variant, recipe.user, self.pegged)
