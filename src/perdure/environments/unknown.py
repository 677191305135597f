"""A package that there is not: named, with who asked for it and what may have been meant."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from perdure.environments.familiar import NAMES, meant, near_misses
from perdure.environments.manifest import Manifest, normalised
from perdure.environments.resolution import Resolution
from perdure.environments.uv import INDEX_HINT
from perdure.errors import EnvironmentFailed
from perdure.model.project import Project

# What uv's resolver says, with its line ends taken out.
_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^ ]*\])?"
_BY = r"(?: and (?P<by>[^ ,]+) depends on)?"
_UNKNOWN = (
    re.compile(
        rf"(?:Because |\band ){_NAME}(?:[=<>!~][^ ]*)? was not found in the "
        rf"(?:package registry|provided package locations){_BY}"
    ),
    # Of a package with an extra; a version behind it would say that there are others.
    re.compile(rf"there are no versions of {_NAME}(?= and|,){_BY}"),
)
# An index that was not asked, or did not answer, has said nothing about what it has.
_UNASKED = re.compile(r"\b401\b|\b403\b|authentication|network was disabled")


@contextlib.contextmanager
def naming_unknown(project: Project, manifest: Manifest) -> Iterator[None]:
    """Turn what uv says of a package that no index has into one clear error.

    Raises:
        EnvironmentFailed: naming the package, the declaration that asks for it, and near misses.
    """
    try:
        yield
    except EnvironmentFailed as error:
        said = " ".join(error.message.split())
        found = next(filter(None, (pattern.search(said) for pattern in _UNKNOWN)), None)
        if found is None or _UNASKED.search(said):
            raise
        name = found["name"]
        locked = _locked(project)
        # What is known to exist was not mistyped: its index could not be asked.
        known = normalised(name) in NAMES | locked
        near = () if known else near_misses(name, locked)
        otherwise = INDEX_HINT if known else error.hint
        raise EnvironmentFailed(
            f"there is no package `{name}` in any index that this machine uses; "
            + _asked(manifest, name, found["by"]),
            hint=meant(near, otherwise or "a package may be imported by another name"),
        ) from error


def _asked(manifest: Manifest, name: str, by: str | None) -> str:
    """Return who asks for it: a declaration, else another package."""
    places = manifest.places(normalised(name))
    if places:
        return "asked for in " + " and ".join(f"`{place}`" for place in places)
    return f"`{by}` depends on it" if by and by != "your" else "another package depends on it"


def _locked(project: Project) -> frozenset[str]:
    """Return the packages of the project's present uv.lock, none where it has none."""
    try:
        text = (project.root / "uv.lock").read_bytes().decode("utf-8", "replace")
        return frozenset(
            str(each.get("name")) for each in Resolution.of(text, project.root).packages
        )
    except (OSError, EnvironmentFailed):
        return frozenset()
