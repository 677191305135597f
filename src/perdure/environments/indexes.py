"""Which of a project's own indexes are to be found elsewhere from this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from perdure.environments.manifest import Manifest, normalised
from perdure.model.settings import Index, IndexFormat


def replacements(
    manifest: Manifest, chosen: Mapping[str, Index], folders: Sequence[Path]
) -> dict[str, Index]:
    """Return the indexes that take the place of the project's, by name.

    What the user chose; else the first of the machine's wheel folders that has a package which the
    project takes from that index, in a version that it asks for.
    """
    found = {}
    for name in manifest.indexes():
        if name in chosen:
            found[name] = chosen[name]
            continue
        for folder in folders:
            if _serves(folder, manifest, name):
                found[name] = Index(name, folder.absolute().as_uri(), IndexFormat.FLAT)
                break
    return found


def without_credentials(index: Index) -> tuple[Index, dict[str, str]]:
    """Return the index with a bare URL, and the variables that tell uv its user and password."""
    parts = urlsplit(index.url)
    if "@" not in parts.netloc:
        return index, {}
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    prefix = "UV_INDEX_" + "".join(c if c.isalnum() else "_" for c in index.name.upper())
    variables = {
        f"{prefix}_USERNAME": unquote(parts.username or ""),
        f"{prefix}_PASSWORD": unquote(parts.password or ""),
    }
    return replace(index, url=bare), variables


def _serves(folder: Path, manifest: Manifest, index: str) -> bool:
    packages = manifest.packages_from(index)
    for wheel in folder.glob("*.whl"):
        name, _, rest = wheel.name.partition("-")
        package, version = normalised(name), rest.partition("-")[0]
        pins = manifest.pins(package)
        if package in packages and (not pins or pins & {version, version.partition("+")[0]}):
            return True
    return False
