"""Images brought into a bucket from this machine's engine: the layers it lacks, then the image.

What the bucket has is told by the digests of layers, before the engine is asked for any of them.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from perdure.clouds.side import keys, layers
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.layers import Layer, Packed
from perdure.errors import EnvironmentFailed
from perdure.hosts.engine import Engine
from perdure.hosts.progress import Progress
from perdure.images.archive import (
    Member,
    UnexpectedArchive,
    members,
    named_in,
    read_names,
    thin_members,
)
from perdure.images.archive_names import LayerNames
from perdure.images.ship_engine import Side, named_layers
from perdure.images.ship_image import ImageRecord, read_image
from perdure.images.ship_stream import failure, saved
from perdure.images.shipment import Moved
from perdure.model.report import Report

_NAME = "perdure-cloud"
_DIGITS = 16
_TAG_S = 60.0
_TOLD = "sending the image"
# What is no layer is a description, and none is that long.
_SMALL_BYTES = 16 << 20


def bring(bucket: Bucket, engine: Engine, known: str, report: Report) -> Moved:
    """Return what went into the bucket, which has the image of that id then, whole.

    Touches the network, and has the engine write its archive.

    Raises:
        UsageError: the engine has no such image.
        EnvironmentFailed: it does not give it whole.
        EngineUnreachable: it was lost.
        StorageError: a layer is not what its engine calls it.
    """
    before = layers.find(bucket, known)
    if before is not None:
        return Moved(0, 0, len(before.layers), sum(each.size for each in before.layers))
    image, name = read_image(engine, known), called(known)
    _tag(engine, known, name)
    try:
        sending = _send(bucket, Side(engine, engine.version().storage, "here"), name, image, report)
    finally:
        engine.run(["image", "rm", name], timeout_s=_TAG_S)
    packed = Packed(
        named_in(sending.small.get("manifest.json")) or name,
        image.layers,
        tuple(sending.layers),
        sending.small,
        sending.links,
    )
    bucket.put(keys.image(known), packed.text())
    return sending.moved()


def called(known: str) -> str:
    """Return what engines call the image of that id on its way, and on its machine. Pure."""
    return f"{_NAME}:{known.rpartition(':')[2][:_DIGITS]}"


def write_archive(packed: Packed, target: tarfile.TarFile, folder: Path) -> None:
    """Write an image's archive of its layers, which are files of a folder. Touches the disk."""
    for layer in packed.layers:
        member = _member(layer.path, layer.size)
        with (folder / layer.digest).open("rb") as file:
            target.addfile(member, file)
    for path, to in packed.links.items():
        member = _member(path, 0)
        member.type, member.linkname = tarfile.SYMTYPE, to
        target.addfile(member)
    for path, data in packed.small.items():
        target.addfile(_member(path, len(data)), io.BytesIO(data))


def _member(path: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.size = 0o644, size
    return member


def _tag(engine: Engine, known: str, name: str) -> None:
    done = engine.run(["image", "tag", known, name], timeout_s=_TAG_S)
    if done.returncode != 0:
        raise failure(f"cannot name `{known}` `{name}`", done)


def _send(bucket: Bucket, source: Side, name: str, image: ImageRecord, report: Report) -> _Sending:
    """Return what went by of an image, once its layers are in the bucket."""
    names = named_layers(source, name, image)[0]
    try:
        sending = _stream(bucket, source, name, names, Progress(report, _TOLD, image.size))
    except UnexpectedArchive:
        # Its engine names layers in a way of its own: read once for the names.
        with saved(source.engine, name) as stream:
            names = read_names(stream, image.layers)
        sending = _stream(bucket, source, name, names, Progress(report, _TOLD, image.size))
    if sending.seen != set(image.layers):
        raise EnvironmentFailed(
            f"the engine does not give `{name}` whole: parts of it are missing",
            hint="build it again, or pull it again",
        )
    return sending


def _stream(bucket: Bucket, source: Side, name: str, names: LayerNames, tell: Progress) -> _Sending:
    sending = _Sending(bucket, layers.present(bucket), tell)
    with saved(source.engine, name) as archive:
        for found in thin_members(members(archive), names):
            sending.take(found)
        archive.finish()
    return sending


@dataclass(slots=True)
class _Sending:
    """An archive that goes by: its layers go into the bucket, what is small is kept."""

    bucket: Bucket
    there: frozenset[str]
    tell: Progress
    layers: list[Layer] = field(default_factory=list)
    small: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    sent: dict[str, int] = field(default_factory=dict)

    def take(self, found: Member) -> None:
        """Take a member of the archive."""
        member, content, layer = found
        if layer is not None:
            self.seen.add(layer)
        if member.issym() or member.islnk():
            self.links[member.name] = member.linkname
        elif layer is not None and member.isfile():
            self._take_layer(found, layer)
        elif member.isfile():
            if member.size > _SMALL_BYTES:
                raise EnvironmentFailed(f"`{member.name}` of the image's archive is no layer")
            self.small[member.name] = content.read()

    def moved(self) -> Moved:
        """Return what went over."""
        known = {each.digest: each.size for each in self.layers}
        kept = {digest: size for digest, size in known.items() if digest not in self.sent}
        return Moved(len(self.sent), sum(self.sent.values()), len(kept), sum(kept.values()))

    def _take_layer(self, found: Member, layer: str) -> None:
        member, content, _ = found
        last = member.name.rpartition("/")[2]
        # In a layout a layer is called by what is in its file, elsewhere by what that holds.
        digest = layer.partition(":")[2] if last.endswith(".tar") else last
        if digest not in self.there and digest not in self.sent:
            self.sent[digest] = layers.send(self.bucket, digest, content, self.tell.add)
        self.layers.append(Layer(member.name, digest, member.size))
