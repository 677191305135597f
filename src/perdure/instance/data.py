"""What was pushed to the bucket as the project's data, brought to a machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perdure.clouds.side.bucket import Bucket
from perdure.errors import StorageError
from perdure.moving.address import Address
from perdure.moving.manifest import Manifest, Stored, key_of
from perdure.moving.shelf import Shelf

WORD = "data"
PART_BYTES = 16 << 20
_WORKERS = 16


def bring_data(bucket: Bucket, address: Address, root: Path, say: Callable[[str], None]) -> int:
    """Return how many files were brought to the project's `data/`: what was pushed last.

    Touches network and disk. Sizes are compared, not digests: a machine has no more than a Python.

    Raises:
        StorageError: a file is not in the bucket, or is another one than was pushed.
    """
    shelf = Shelf(address, bucket.store, WORD)
    mark = shelf.committed()
    if mark is None:
        return 0
    manifest = shelf.manifest(mark)
    say(f"bringing {len(manifest.files)} files of data, {manifest.bytes} bytes")
    base = root / WORD
    for folder in ("", *sorted(manifest.folders)):
        (base / folder).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(lambda path: _bring(bucket, manifest, path, base / path), manifest.files))
    for path, target in manifest.links.items():
        link = base / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
    return len(manifest.files)


def _bring(bucket: Bucket, manifest: Manifest, path: str, file: Path) -> None:
    stored = manifest.files[path]
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = file.stat()
        if (found.st_size, found.st_mtime_ns) == (stored.size, stored.mtime_ns):
            return
    except OSError:
        pass  # it is not here
    _write(bucket, key_of(WORD, path), stored, file)
    file.chmod(stored.mode & 0o777)
    # Last: the time says that it is whole.
    os.utime(file, ns=(stored.mtime_ns, stored.mtime_ns))


def _write(bucket: Bucket, key: str, stored: Stored, file: Path) -> None:
    with file.open("wb") as writing:
        for start in range(0, stored.size, PART_BYTES):
            size = min(PART_BYTES, stored.size - start)
            try:
                data = bucket.part(key, start, size)
            except FileNotFoundError as error:
                raise StorageError(f"`{key}` is not in the bucket", hint="push it again") from error
            if len(data) != size:
                raise StorageError(f"`{key}` is not what was pushed", hint="push it again")
            writing.write(data)
