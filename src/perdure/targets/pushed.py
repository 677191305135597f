"""Which image of a project was pushed last to a registry: `.perdure/pushed.json`.

A target that names a registry has its pods made from that, by its digest.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE = "pushed.json"


def read(state: Path, registry: str) -> str | None:
    """Return the image by its digest, None where none was pushed. Reads the disk."""
    found = _all(state).get(registry)
    return found if isinstance(found, str) else None


def write(state: Path, registry: str, reference: str) -> None:
    """Note what was pushed, whole or not at all. Touches the disk."""
    path = state / FILE
    draft = path.with_name(f".{FILE}-{os.getpid()}")
    draft.write_text(json.dumps({**_all(state), registry: reference}, indent=1) + "\n")
    draft.replace(path)


def _all(state: Path) -> dict[str, object]:
    try:
        found = json.loads((state / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
