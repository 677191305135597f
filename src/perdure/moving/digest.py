"""Digests of files, as manifests hold them: xxh3-128, which finds accidents and not attackers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

CHUNK = 1 << 20


def digest_of(file: Path) -> str:
    """Return a file's digest. Reads the disk."""
    import xxhash

    digest = xxhash.xxh3_128()
    with file.open("rb") as opened:
        while data := opened.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def digest_of_bytes(data: bytes) -> str:
    """Return the digest of bytes. Pure."""
    import xxhash

    return xxhash.xxh3_128_hexdigest(data)


def digests_of(folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the digests of files, of those that can be read. Reads the disk."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = digest_of(folder / path)
    return found
