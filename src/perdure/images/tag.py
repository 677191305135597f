"""An image's name, which says what is in it: two machines that would build the same agree on it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from perdure.images.context import code_files, supervisor_files, texts
from perdure.images.dockerfile import GENERATOR
from perdure.images.recipe import Recipe
from perdure.model.image import Stage

#: The files of the code, each with what `code_files` says of it.
Listed = Sequence[tuple[str, str]]

DIGITS = 16
_OWNER = "perdure"


def tag_of(recipe: Recipe, stage: Stage, code: Path | Listed | None = None) -> str:
    """Return the tag, such as `perdure/cats:runtime-cpu-0123456789abcdef`.

    `code` is the folder that goes into the image, or what `code_files` would say of it.
    Of files it takes contents, never times; of the machine, nothing: no mirror, proxy or
    certificate. Reads the supervisor's sources, and the code where the image is pegged.
    """
    digest = contents_digest(recipe, stage, code)[:DIGITS]
    words = [stage.value, *([recipe.variant] if recipe.variant else []), digest]
    return f"{repository(recipe.project)}:{'-'.join(words)}"


def contents_digest(recipe: Recipe, stage: Stage, code: Path | Listed | None = None) -> str:
    """Return the digest, 64 hexadecimal digits, of all that the image is built from."""
    supervisor = {
        name: hashlib.sha256(content).hexdigest() for name, content in supervisor_files().items()
    }
    depends = {
        "generator": GENERATOR,
        "platform": recipe.platform,
        "base": recipe.base.layers,
        "uv": recipe.uv,
        # Wheels are named there by their hashes, users by their numbers.
        "texts": dict(texts(recipe, stage, pegged=code is not None)),
        "conda": [[each.url, each.sha256] for each in recipe.conda],
        "supervisor": supervisor,
        "code": sorted(code_files(code)) if isinstance(code, Path) else code and sorted(code),
    }
    text = json.dumps(depends, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def repository(project: str) -> str:
    """Return the repository of a project's images: its name as image names may be written.

    Source: the OCI distribution specification, "Pulling manifests": `[a-z0-9]+([._-][a-z0-9]+)*`.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")
    return f"{_OWNER}/{plain or 'project'}"
