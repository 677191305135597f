"""What of an image has to be shipped, and how long its squashfs takes: for benchmarks/images.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from perdure.hosts import piped
from perdure.hosts.engine import Engine
from perdure.images.archive import read_descriptors, thin
from perdure.images.archive_names import LayerNames, blob_path
from perdure.images.ship_image import held_layers, read_image
from perdure.images.ship_stream import saved
from perdure.images.squashfs import container_of, write_squashfs
from perdure.model.report import silent


@dataclass(frozen=True, slots=True)
class Bytes:
    """An archive's bytes: those that another engine lacks which has the image before, and all."""

    new: int
    all: int


class Counter:
    """Takes bytes, and keeps only their number."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes, /) -> int:
        """Take them."""
        self.bytes += len(data)
        return len(data)


def delta_bytes(engine: Engine, before: str, after: str) -> Bytes:
    """Return what `perdure ship` would send of an image to where the one before it is."""
    image = read_image(engine, after)
    held = held_layers(image.layers, [read_image(engine, before)])
    names = LayerNames.predicted(image.layers)
    if engine.version().storage == "containerd":
        with saved(engine, after) as archive:
            found = read_descriptors(archive, image.id, len(image.layers))
        names = LayerNames.explicit(image.layers, [blob_path(each.digest) for each in found])
    counter = Counter()
    with saved(engine, after) as archive:
        passed = thin(archive, counter, names, held)
        archive.finish()
    return Bytes(counter.bytes, counter.bytes + sum(passed.skipped.values()))


def squashfs_s(engine: Engine, tag: str, file: Path) -> tuple[float, int]:
    """Return the seconds that a squashfs takes, and the bytes of the files in it."""
    image = read_image(engine, tag)
    seconds = measure.timed(lambda: write_squashfs(engine, tag, image, file, silent))
    counter = Counter()
    with (
        container_of(engine, tag) as container,
        piped.reading(
            engine.argv(["container", "export", container]), env=engine.environ, stall_s=600
        ) as export,
    ):
        while data := export.read():
            counter.write(data)
    return seconds, counter.bytes
