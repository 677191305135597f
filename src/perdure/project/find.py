"""Which project a folder belongs to."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from perdure.errors import UsageError

PROJECT_FILE = "pyproject.toml"


def find_project(start: Path) -> Path:
    """Return the nearest folder, `start` or above it, whose pyproject.toml has `[tool.perdure]`.

    Raises:
        UsageError: there is none.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        if _is_project(folder / PROJECT_FILE):
            return folder
    raise UsageError(
        f"no project here: no {PROJECT_FILE} with `[tool.perdure]` in `{start}` or above it",
        hint="perdure new NAME",
    )


def perdure_table(document: Mapping[str, object]) -> object | None:
    """Return `[tool.perdure]` of a parsed pyproject.toml, None where it has none."""
    tool = document.get("tool")
    return tool.get("perdure") if isinstance(tool, dict) else None


def _is_project(file: Path) -> bool:
    try:
        text = file.read_bytes().decode("utf-8", "replace")
    except OSError:
        return False
    if "perdure" not in text:
        return False
    try:
        return perdure_table(tomllib.loads(text)) is not None
    except tomllib.TOMLDecodeError:
        # Broken, but meant: whoever reads it next says what is wrong with it.
        return "[tool.perdure" in text
