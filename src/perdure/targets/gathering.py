"""Run folders brought here from where their jobs run."""

from __future__ import annotations

import os
from pathlib import Path

from perdure.model.station import inside
from perdure.targets import shelf
from perdure.targets.place import Place

_PIECE = 4 << 20


def gather(place: Place, folder: Path) -> None:
    """Bring what a folder of the project has there and lacks here. Touches disk and network.

    The weights of checkpoints stay there. A file of the same size and time is taken to be the same.

    Raises:
        HostUnreachable: the host does not answer.
        StorageError: it names files outside of the folder.
    """
    there = place.path(folder)
    for name, size, changed in place.host.call(shelf.listed, there):
        final = folder / inside(str(name))
        if not _is_here(final, int(str(size)), int(str(changed))):
            _fetch(place, f"{there}/{name}", final, int(str(changed)))


def _is_here(final: Path, size: int, changed: int) -> bool:
    try:
        found = final.stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (size, changed)


def _fetch(place: Place, there: str, final: Path, changed: int) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(f".{final.name}.perdure-part")
    at = 0
    with draft.open("wb") as file:
        while data := place.host.call(shelf.piece, there, at, _PIECE):
            file.write(data)
            at += len(data)
    os.utime(draft, ns=(changed, changed))
    draft.replace(final)
