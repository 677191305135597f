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
import uuid
import zipfile
from pathlib import Path

import perdure

MAIN = "perdure/runtime/supervisor/__main__.py"
# 1980-01-01, the earliest a zip knows: equal sources are equal bytes.
_THEN = (1980, 1, 1, 0, 0, 0)


@functools.cache
def sources() -> bytes:
    """Return the sources as a zip, the same bytes each time. Reads the disk."""
    package = Path(perdure.__file__).parent
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for path in (package / "__init__.py", *sorted((package / "runtime").rglob("*.py"))):
            name = f"perdure/{path.relative_to(package).as_posix()}"
            file.writestr(zipfile.ZipInfo(name, _THEN), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def digest() -> str:
    """Return what names these sources: equal sources, equal digests."""
    return hashlib.sha256(sources()).hexdigest()[:16]


def folder(root: str, named: str) -> Path:
    """Return where the sources of that digest lie in a project there. Pure."""
    return Path(root, ".perdure", "supervisor", named)


def unpack(root: str, named: str, packed: bytes) -> None:
    """Write the sources, whole or not at all. Touches the disk."""
    final = folder(root, named)
    draft = final.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as file:
            file.extractall(draft)
        with contextlib.suppress(OSError):
            # Somebody else may have been quicker: what is there is the same.
            os.rename(draft, final)  # noqa: PTH104 - a folder that is there and not empty stays
    finally:
        shutil.rmtree(draft, ignore_errors=True)
