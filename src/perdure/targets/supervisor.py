"""The supervisor's own sources, as they are brought to a host that has no perdure.

They lie there as files, because a supervisor outlives the connection that started it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import perdure

MAIN = "perdure/runtime/supervisor/__main__.py"
# 1980-01-01, the earliest a zip knows: equal sources are equal bytes.
_THEN = (1980, 1, 1, 0, 0, 0)


def sources() -> bytes:
    """Return the sources as a zip, the same bytes each time. Reads the disk."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in _files().items():
            file.writestr(zipfile.ZipInfo(name, _THEN), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@functools.cache
def digest() -> str:
    """Return what names these sources: equal sources, equal digests. Reads the disk."""
    # Not by the zip: to pack it takes five times as long, and hardly anybody needs it.
    known = hashlib.sha256()
    for name, content in _files().items():
        known.update(f"{name}\0{len(content)}\0".encode() + content)
    return known.hexdigest()[:16]


@functools.cache
def _files() -> Mapping[str, bytes]:
    package = os.path.dirname(perdure.__file__)  # noqa: PTH120 - at each start of a job
    found = {"perdure/__init__.py": _content(f"{package}/__init__.py")}
    for folder, _, names in sorted(os.walk(f"{package}/runtime")):
        inner = os.path.relpath(folder, package)
        for name in sorted(names):
            if name.endswith(".py"):
                found[f"perdure/{inner}/{name}"] = _content(f"{folder}/{name}")
    return found


def _content(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        return file.read()


def folder(root: str, named: str) -> Path:
    """Return where the sources of that digest lie in a project there. Pure."""
    return Path(root, ".perdure", "supervisor", named)


def unpack(root: str, named: str, packed: bytes) -> None:
    """Write the sources, whole or not at all. Touches the disk."""
    final = folder(root, named)
    draft = final.with_name(f".tmp-{os.urandom(16).hex()}")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as file:
            file.extractall(draft)
        with contextlib.suppress(OSError):
            # Somebody else may have been quicker: what is there is the same.
            os.rename(draft, final)  # noqa: PTH104 - a folder that is there and not empty stays
    finally:
        shutil.rmtree(draft, ignore_errors=True)
