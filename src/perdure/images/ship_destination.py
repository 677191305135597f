"""Where an image is to be shipped to, told from how it is written. Pure.

In this order, the first that fits:

    ends with `.sqfs` or `.squashfs`                  a squashfs file
    ends as other files do (`.tar.gz`, `.sif`, ...)   nothing: no such file is written
    ends with `.tar`, or begins with / ./ ../ ~       an archive that `docker load` reads
    unix://... tcp://... ssh://...                    another engine
    has a slash, or ends with a colon and a port      a registry: HOST[:PORT]/NAME[:TAG]
    any other word                                    a docker context of that name, else ssh://WORD
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from perdure.errors import UsageError

_SQUASHFS = (".sqfs", ".squashfs")
# Nobody's host or registry is called so.
_OTHER_FILES = (".gz", ".tgz", ".xz", ".zst", ".bz2", ".zip", ".sif", ".img", ".oci")
_ON_HOST = re.compile(r"[A-Za-z0-9@._-]+:[/~.]")
_SCHEMES = ("unix", "tcp", "ssh")
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9._-]*")
_REGISTRY = re.compile(
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?)"
    r"(?:/(?P<name>[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*)?(?P<slash>/)?)?"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
)
HINT = (
    "write a file (`cats.tar`, `cats.sqfs`), an engine (`gpubox`, `ssh://user@gpubox`, "
    "`unix:///run/docker.sock`) or a registry (`registry.lab:5000/cats`)"
)


class Kind(Enum):
    """What takes the image."""

    SQUASHFS = "squashfs"
    ARCHIVE = "archive"
    ENGINE = "engine"
    HOST = "host"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Destination:
    """What takes the image, and its address as it was written: a path, an engine, a host."""

    kind: Kind
    address: str

    @property
    def path(self) -> Path:
        """Return the file to write, for a squashfs or an archive."""
        return Path(self.address).expanduser()

    def reference(self, tag: str) -> str:
        """Return what the image tagged `tag` is called in this registry.

        A slash at the end, or nothing after the host, keeps the image's own name; without a tag
        the image's own tag is kept.
        """
        found = _REGISTRY.fullmatch(self.address)
        assert found is not None
        name, _, own = tag.rpartition(":")
        kept = found["name"] is None or found["slash"] is not None
        parts = (found["host"], found["name"], name if kept else None)
        return "/".join(part for part in parts if part) + f":{found['tag'] or own}"


def parse_destination(text: str) -> Destination:
    """Return the destination that `text` names; nothing is looked up.

    Raises:
        UsageError: it names none.
    """
    kind = _kind_of(text)
    if kind is None or any(letter in text for letter in "\0\n\r"):
        raise UsageError(f"`{text}` is no destination", hint=_hint(text))
    return Destination(kind, text)


def _hint(text: str) -> str:
    if _ON_HOST.match(text) and not _is_url(text):
        return f"files are written on this machine; `--to {text.partition(':')[0]}` is an engine"
    if text.lower().endswith((*_OTHER_FILES, *_SQUASHFS, ".tar")):
        return "files are called NAME.tar, which `docker load` reads, or NAME.sqfs"
    return HINT


def _is_url(text: str) -> bool:
    scheme, separator, _ = text.partition("://")
    return bool(separator) and "/" not in scheme


def _kind_of(text: str) -> Kind | None:
    if _is_url(text):
        scheme, _, rest = text.partition("://")
        return Kind.ENGINE if scheme in _SCHEMES and rest.strip("/") else None
    if _ON_HOST.match(text):
        return None
    if text.endswith(_SQUASHFS):
        return Kind.SQUASHFS
    if text.endswith(".tar") or text.startswith(("/", "./", "../", "~")):
        return Kind.ARCHIVE if not text.endswith(("/", "/.", "/..")) else None
    if text.lower().endswith((*_OTHER_FILES, *_SQUASHFS, ".tar")):
        return None
    if "/" in text or re.search(r":[0-9]{1,5}$", text):
        return Kind.REGISTRY if _REGISTRY.fullmatch(text) else None
    return Kind.HOST if _HOST.fullmatch(text) else None
