"""An image's archive, as `docker save` writes it, without the layers that the other side has.

Everything is done while it streams: neither memory nor disk holds the archive. What is small and
says what the image is (its configuration, manifest.json, index.json, the manifest blob) always
stays. Formats: https://github.com/moby/docker-image-spec (v1.2, "Combined Image JSON + Filesystem
Changeset Format") and https://github.com/opencontainers/image-spec (image-layout).
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol, cast

from perdure.images.archive_names import LayerNames

PIECE_BYTES = 1 << 20
# What says what an image is stays far below this; layers this small are as good as free.
_SMALL_BYTES = 4 << 20
_OLD_LAYER = re.compile(r"[0-9a-f]{64}/layer\.tar")
_SHA256 = "sha256:"


class Reading(Protocol):
    """Where an archive comes from: `read` may return fewer bytes, and b"" at the end."""

    def read(self, count: int, /) -> bytes:
        """Return the next bytes."""


class Writing(Protocol):
    """Where an archive goes."""

    def write(self, data: bytes, /) -> int:
        """Take all these bytes."""


class UnexpectedArchive(Exception):
    """The archive names its layers otherwise than was foreseen."""


@dataclass(slots=True)
class Passed:
    """What went through: layers and their bytes that were left out, and what was sent."""

    skipped: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    def note(self, layer: str, size: int, *, skipped: bool) -> None:
        """Note that a layer went by."""
        (self.skipped if skipped else self.sent)[layer] = size


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A layer as a manifest names it: its blob's digest and media type."""

    digest: str
    media_type: str


Member = tuple[tarfile.TarInfo, IO[bytes], str | None]


def members(source: Reading) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield each member of a streamed archive with its content, to be read before the next.

    What is no file has no content.

    Raises:
        tarfile.TarError: it is no archive, or it ends too early.
    """
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|", bufsize=PIECE_BYTES) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            yield member, content or io.BytesIO()


def thin_members(
    found: Iterable[tuple[tarfile.TarInfo, IO[bytes]]], names: LayerNames
) -> Iterator[Member]:
    """Yield each member with its content and the layer that it is, None where it is none.

    Raises:
        UnexpectedArchive: the layers are not where `names` has them; told at the end at the latest.
    """
    checker = _Checker(names)
    for member, content in found:
        layer = checker.layer_of(member)
        if member.name == "manifest.json":
            checker.manifest = content.read()
            yield member, io.BytesIO(checker.manifest), None
        else:
            yield member, content, layer
    checker.check()


def thin(source: Reading, target: Writing, names: LayerNames, held: int) -> Passed:
    """Return what passed once the archive is written to `target` without its first `held` layers.

    A layer that is needed again further up stays. The archive keeps its format.

    Raises:
        UnexpectedArchive: the layers are not where `names` has them; what was written is no use.
        tarfile.TarError: the archive is damaged, or ends too early.
    """
    passed, left_out = Passed(), names.droppable(held)
    with writing(target) as written:
        for member, content, layer in thin_members(members(source), names):
            if layer is not None and member.isfile():
                passed.note(layer, member.size, skipped=layer in left_out)
            if layer not in left_out:
                written.addfile(member, content)
    return passed


@contextlib.contextmanager
def writing(target: Writing) -> Iterator[tarfile.TarFile]:
    """Yield an archive that is written to a stream in large pieces."""
    stream = cast("IO[bytes]", target)
    with tarfile.open(fileobj=stream, mode="w|", bufsize=PIECE_BYTES) as written:
        # An argument of tarfile.open, too, but its types do not know of it.
        written.copybufsize = PIECE_BYTES  # type: ignore[attr-defined]
        yield written


class _Checker:
    """Says which layer a member is, and at the end whether that was right."""

    def __init__(self, names: LayerNames) -> None:
        self.manifest: bytes | None = None
        self._names = names
        self._unforeseen: str | None = None

    def layer_of(self, member: tarfile.TarInfo) -> str | None:
        """Return the layer (by the digest of its contents) that a member is, None if it is none."""
        layer = self._names.layer_at(member.name)
        if layer is not None or not _OLD_LAYER.fullmatch(member.name):
            return layer
        if member.issym() and not self._names.foreseen:
            # What manifest.json does not name: podman has links to its layers, as Docker had.
            return None
        # The name of the last layer depends on the whole configuration: one may be unforeseen.
        if self._unforeseen not in (None, member.name) or not self._names.foreseen:
            raise UnexpectedArchive(member.name)
        self._unforeseen = member.name
        return self._names.layers[-1]

    def check(self) -> None:
        """Return if manifest.json has the layers where they were taken to be."""
        found = layer_paths(self.manifest)
        right = [self._names.layer_at(path) for path in found]
        if self._unforeseen is not None and found and found[-1] == self._unforeseen:
            right[-1] = self._names.layers[-1]
        if tuple(right) != self._names.layers:
            raise UnexpectedArchive("manifest.json")


def layer_paths(manifest: bytes | None) -> tuple[str, ...]:
    """Return where manifest.json says that the layers are, oldest first.

    Raises:
        UnexpectedArchive: it does not say.
    """
    try:
        (image,) = json.loads(manifest or b"")
        return tuple(str(path) for path in image["Layers"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnexpectedArchive("manifest.json") from error


def named_in(manifest: bytes | None) -> str | None:
    """Return what manifest.json calls the image: podman's names have a host. Pure."""
    try:
        (image,) = json.loads(manifest or b"")
        return str(image["RepoTags"][0])
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def read_names(source: Reading, layers: Sequence[str]) -> LayerNames:
    """Return where an archive has its layers, from its manifest.json. Reads all of it.

    Raises:
        UnexpectedArchive: it does not say, or has another number of them.
        tarfile.TarError: it is damaged.
    """
    manifest = None
    for member, content in members(source):
        if member.name == "manifest.json" and member.size <= _SMALL_BYTES:
            manifest = content.read()
    paths = layer_paths(manifest)
    if len(paths) != len(layers):
        raise UnexpectedArchive("manifest.json")
    return LayerNames.explicit(layers, paths)


def read_descriptors(source: Reading, image_id: str, layers: int) -> tuple[Descriptor, ...]:
    """Return the layers as the manifest of the image `image_id` names them.

    Reads only as far as it must: the id is the digest of the manifest, or of an index over it.

    Raises:
        UnexpectedArchive: there is no manifest with that many layers.
        tarfile.TarError: it is damaged.
    """
    blobs: dict[str, Mapping[str, object]] = {}
    for member, content in members(source):
        if not member.isfile() or member.size > _SMALL_BYTES:
            continue
        document = _document(content.read())
        if document is not None:
            blobs[_SHA256 + member.name.rpartition("/")[2]] = document
            found = _manifest(blobs, image_id, layers)
            if found is not None:
                return found
    raise UnexpectedArchive("no manifest")


def _document(content: bytes) -> Mapping[str, object] | None:
    try:
        found = json.loads(content) if content[:1] == b"{" else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _manifest(
    blobs: Mapping[str, Mapping[str, object]], digest: str, layers: int
) -> tuple[Descriptor, ...] | None:
    """Return the layers of the manifest that a digest leads to, None while it is not there yet."""
    document = blobs.get(digest, {})
    listed = document.get("layers")
    if isinstance(listed, list):
        found = tuple(Descriptor(str(each["digest"]), str(each["mediaType"])) for each in listed)
        return found if len(found) == layers else None
    below = document.get("manifests")
    candidates = (str(each["digest"]) for each in below) if isinstance(below, list) else ()
    reached = (_manifest(blobs, candidate, layers) for candidate in candidates)
    return next((found for found in reached if found is not None and _is_image(found)), None)


def _is_image(layers: Sequence[Descriptor]) -> bool:
    """Return whether these are layers: an attestation's manifest lists statements instead."""
    return all(".layer." in each.media_type or "rootfs.diff" in each.media_type for each in layers)
