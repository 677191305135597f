"""The programs of services as they are pinned: exact versions with their hashes."""

from __future__ import annotations

import hashlib
from importlib import resources


def text_of(tool: str) -> str:
    """Return a tool's list of requirements. Reads the package's own files."""
    folder = resources.files("perdure.services") / "requirements"
    return (folder / f"{tool}.txt").read_text(encoding="utf-8")


def folder_name(tool: str, python: str = "") -> str:
    """Return the name of the folder that a tool is installed in; another list, another folder."""
    digest = hashlib.sha256(text_of(tool).encode()).hexdigest()[:12]
    return "-".join(filter(None, (tool, digest, python)))
