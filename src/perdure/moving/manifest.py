"""What a folder of a bucket holds: every file with its size, time and digest.

In a bucket, below `<word>/.perdure/`: `manifest-<id>.json.gz`, written once; `committed.json`,
which names the one that counts and is written last; `pushing.json`, there while a push is at it. A
file is the object `<word>/<path>`, or, where a bucket could not keep that name, one named by a
digest of it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from perdure.errors import NewerFormatError, StorageError
from perdure.moving.entry import Entry, Folder, Kind
from perdure.runtime import names

OURS = ".perdure"
COMMITTED = f"{OURS}/committed.json"
PUSHING = f"{OURS}/pushing.json"
CONFLICTS = f"{OURS}/conflicts"
_PLAIN = frozenset(" ._-+=@,()")
_LONGEST = 800


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a bucket: bytes, when it changed (nanoseconds), permissions, xxh3-128."""

    size: int
    mtime_ns: int
    mode: int
    digest: str


@dataclass(slots=True)
class Manifest:
    """Files, links and folders, by path."""

    files: dict[str, Stored] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Return how many bytes its files have."""
        return sum(each.size for each in self.files.values())

    def as_folder(self) -> Folder:
        """Return it as a plan looks at it."""
        entries = {path: Entry(Kind.FOLDER) for path in self.folders}
        entries |= {path: Entry(Kind.LINK, target=each) for path, each in self.links.items()}
        for path, each in self.files.items():
            entries[path] = Entry(Kind.FILE, each.size, each.mtime_ns, each.mode)
        return Folder(entries)


def key_of(word: str, path: str) -> str:
    """Return the object's name for a file. Pure.

    The file's own, so that others find it too, unless a bucket could not keep it as it is.
    """
    plain = all(letter.isalnum() or letter in _PLAIN or letter == "/" for letter in path)
    own = path == OURS or path.startswith(f"{OURS}/")
    if plain and path.isprintable() and not own and len(path.encode()) <= _LONGEST:
        return f"{word}/{path}"
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{word}/{OURS}/odd/{digest}"


def encode(manifest: Manifest) -> bytes:
    """Return a manifest as it is written: the same bytes for the same contents."""
    files = {
        path: [each.size, each.mtime_ns, each.mode, each.digest]
        for path, each in sorted(manifest.files.items())
    }
    content = {
        "format": names.FORMAT,
        "files": files,
        "links": dict(sorted(manifest.links.items())),
        "folders": sorted(manifest.folders),
    }
    return gzip.compress(json.dumps(content).encode(), compresslevel=1, mtime=0)


def decode(raw: bytes, where: str) -> Manifest:
    """Return a manifest that was written.

    Raises:
        NewerFormatError: a newer perdure wrote it.
        StorageError: it is none, or a path in it leads out of its folder.
    """
    try:
        content = json.loads(gzip.decompress(raw))
        check_format(content, where)
        files = {path: Stored(*values) for path, values in content["files"].items()}
        manifest = Manifest(files, dict(content["links"]), list(content["folders"]))
        whole = all(map(_is_inside, [*files, *manifest.links, *manifest.folders]))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"the manifest in `{where}` cannot be read") from error
    if not whole:
        raise StorageError(f"the manifest in `{where}` names a path that leads out of its folder")
    return manifest


def check_format(content: Mapping[str, object], where: str) -> None:
    """Return if this perdure knows the format.

    Raises:
        NewerFormatError: it does not.
    """
    found = content.get("format")
    if isinstance(found, int) and found > names.FORMAT:
        raise NewerFormatError(
            f"`{where}` was written by a newer perdure", hint="upgrade perdure here"
        )


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and not {"", ".", ".."} & set(parts) and "\0" not in path
