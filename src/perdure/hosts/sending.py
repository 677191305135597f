"""A file sent to a host: what is there already is not sent again, half a file never counts."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from perdure.errors import StorageError
from perdure.hosts.host import Host
from perdure.hosts.side import files

_PIECE = 4 << 20


def send(host: Host, file: Path, there: str, *, tell: Callable[[int], None] | None = None) -> bool:
    """Return whether anything had to be sent. A transfer that broke off is gone on with.

    `tell` is told how many bytes are there by now.
    A complete file of the same size counts as there: name a file whose contents vary by its digest.

    Raises:
        HostUnreachable: the connection was lost.
        StorageError: it cannot be read here, or did not arrive as it was sent.
        OSError: it cannot be written there.
    """
    with _reading(file):
        size, mode = file.stat().st_size, file.stat().st_mode & 0o777
    at = host.call(files.arrived, there, size)
    if at == size and size:
        return False
    digest = hashlib.sha256()
    with contextlib.ExitStack() as open_files:
        with _reading(file):
            reading = open_files.enter_context(file.open("rb"))
            digest.update(reading.read(at))
        while True:
            with _reading(file):
                piece = reading.read(_PIECE)
            if piece or not size:
                host.call(files.take, there, at, piece)
            if not piece:
                break
            digest.update(piece)
            at += len(piece)
            if tell is not None:
                tell(at)
    host.call(files.settle, there, digest.hexdigest(), mode)
    return True


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Tell what this machine's disk refuses apart from what another one's does."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot read `{file}`: {why}") from error
