"""A file sent to a host: what is there already is not sent again, half a file never counts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from perdure.hosts.host import Host
from perdure.hosts.side import files

_PIECE = 4 << 20


def send(host: Host, file: Path, there: str, *, tell: Callable[[int], None] | None = None) -> bool:
    """Return whether anything had to be sent. A transfer that broke off is gone on with.

    `tell` is told how many bytes are there by now.
    A complete file of the same size counts as there: name a file whose contents vary by its digest.

    Raises:
        HostUnreachable: the connection was lost.
        StorageError: it did not arrive as it was sent.
        OSError: it cannot be read here, or written there.
    """
    size = file.stat().st_size
    at = host.call(files.arrived, there, size)
    if at == size and size:
        return False
    digest = hashlib.sha256()
    with file.open("rb") as reading:
        digest.update(reading.read(at))
        while True:
            piece = reading.read(_PIECE)
            if piece or not size:
                host.call(files.take, there, at, piece)
            if not piece:
                break
            digest.update(piece)
            at += len(piece)
            if tell is not None:
                tell(at)
    host.call(files.settle, there, digest.hexdigest(), file.stat().st_mode & 0o777)
    return True
