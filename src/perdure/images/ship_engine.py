"""An image to another engine: only the layers that it lacks, and proof that it runs there."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from perdure.errors import EngineUnreachable, EnvironmentFailed, PerdureError
from perdure.hosts import piped
from perdure.hosts.engine import Engine
from perdure.hosts.local import Completed
from perdure.hosts.progress import Progress
from perdure.images.archive import (
    Descriptor,
    Passed,
    UnexpectedArchive,
    members,
    read_descriptors,
    read_names,
    thin,
)
from perdure.images.archive_layout import convert, probe_archive, uncompressed
from perdure.images.archive_names import LayerNames, blob_path
from perdure.images.ship_image import ImageRecord, find_image, held_layers, list_images
from perdure.images.ship_stream import END_S, STALL_S, Fed, Saved, failure, saved
from perdure.images.shipment import Moved
from perdure.model.report import Report

CONTAINERD = "containerd"

_RUN_S = 300.0
_PROBE = "perdure/probe"
_NO_TRUE = re.compile(r"executable file not found|no such file or directory", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Side:
    """An engine with how it stores images, and its address for messages."""

    engine: Engine
    storage: str
    address: str


@dataclass(frozen=True, slots=True)
class Sending:
    """An image that is sent: its tag, what it is, and where its archive has its layers.

    `descriptors` are what its manifest on a containerd store will name.
    """

    tag: str
    image: ImageRecord
    names: LayerNames
    descriptors: tuple[Descriptor, ...]
    converted: bool


def send(source: Side, target: Side, tag: str, image: ImageRecord, report: Report) -> Moved:
    """Return what went over once the other engine has the image, and has run it.

    Raises:
        EnvironmentFailed: an engine refuses, or the image does not run there.
        EngineUnreachable: an engine was lost.
        StorageError: a disk is full.
    """
    there = list_images(target.engine)
    if _has(target, tag, image, there) and runs(source, target, tag):
        return Moved(0, 0, len(image.layers), image.size)
    sending = _prepare(source, target, tag, image)
    held = _usable(target, sending, held_layers(image.layers, there))
    try:
        return _send_and_verify(source, target, sending, held, report)
    except EngineUnreachable:
        raise
    except EnvironmentFailed:
        if not held or find_image(target.engine, tag) is None:
            raise
        # What it said it had may have been removed meanwhile, or be of no use.
        report(f"{target.address} cannot use what it has: sending all of it")
        return _send_and_verify(source, target, sending, 0, report)


def _has(target: Side, tag: str, image: ImageRecord, there: Sequence[ImageRecord]) -> bool:
    """Return whether the other engine has the image under that name, giving it the name if so."""
    same = next((each for each in there if each.is_same(image)), None)
    if same is None:
        return False
    if tag in same.tags:
        return True
    done = target.engine.run(["image", "tag", same.id, tag], timeout_s=_RUN_S)
    return done.returncode == 0


def _prepare(source: Side, target: Side, tag: str, image: ImageRecord) -> Sending:
    """Return how the image will be sent; with the containerd store, its manifest is read first."""
    names, descriptors = named_layers(source, tag, image)
    converted = source.storage != CONTAINERD and target.storage == CONTAINERD
    return Sending(tag, image, names, descriptors, converted)


def named_layers(
    source: Side, tag: str, image: ImageRecord
) -> tuple[LayerNames, tuple[Descriptor, ...]]:
    """Return where an image's archive will have its layers, and how a manifest names them.

    With the containerd store that is read from the archive's beginning.

    Raises:
        EnvironmentFailed: the engine does not give it whole.
    """
    if source.storage != CONTAINERD:
        return LayerNames.predicted(image.layers), uncompressed(image.layers)
    with saved(source.engine, tag) as stream:
        try:
            found = read_descriptors(stream, image.id, len(image.layers))
        except UnexpectedArchive as error:
            raise EnvironmentFailed(
                f"the engine does not give `{tag}` whole: parts of it are missing",
                hint="build it again, or pull it again",
            ) from error
    return LayerNames.explicit(image.layers, [blob_path(each.digest) for each in found]), found


def _usable(target: Side, sending: Sending, held: int) -> int:
    """Return how many of the layers that the other engine has can be left out.

    The containerd store runs an image whose blobs it lacks, from what it unpacked before, but
    neither exports it nor builds on it. So it is given images without blobs, and asked which of
    them it can export.
    """
    if target.storage != CONTAINERD:
        return held
    low, high = 0, held
    while low < high:
        # The whole first: it is what was shipped before, most of the time.
        middle = high if (low, high) == (0, held) else (low + high + 1) // 2
        if _exports(target.engine, sending, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _exports(engine: Engine, sending: Sending, count: int) -> bool:
    """Return whether an engine has the blobs of the first layers, as this image names them."""
    name = f"{_PROBE}:{secrets.token_hex(8)}"
    layers, descriptors = sending.image.layers[:count], sending.descriptors[:count]
    content = probe_archive(layers, descriptors, sending.image.platform, name)
    if engine.run(["image", "load"], stdin=content, timeout_s=_RUN_S).returncode != 0:
        return False
    wanted = {blob_path(each.digest) for each in descriptors}
    try:
        with saved(engine, name) as archive:
            return any(member.name in wanted for member, _ in members(archive))
    except PerdureError:
        return False
    finally:
        engine.run(["image", "rm", "--force", name], timeout_s=_RUN_S)


def _send_and_verify(
    source: Side, target: Side, sending: Sending, held: int, report: Report
) -> Moved:
    try:
        passed, sent_bytes = _stream(source, target, sending, held, report)
    except UnexpectedArchive:
        # Its engine names layers in a way of its own: read once for the names.
        with saved(source.engine, sending.tag) as stream:
            names = read_names(stream, sending.image.layers)
        sending = Sending(sending.tag, sending.image, names, sending.descriptors, sending.converted)
        passed, sent_bytes = _stream(source, target, sending, held, report)
    report(f"running it on {target.address}")
    verify(source, target, sending.tag, sending.image)
    skipped = [each for each in sending.image.layers if each in passed.skipped]
    return Moved(
        sent_layers=len(sending.image.layers) - len(skipped),
        sent_bytes=sent_bytes,
        skipped_layers=len(skipped),
        skipped_bytes=sum(passed.skipped.values()),
    )


def _stream(
    source: Side, target: Side, sending: Sending, held: int, report: Report
) -> tuple[Passed, int]:
    """Return what passed and how many bytes were sent, once the other engine has loaded them."""
    tell = Progress(report, f"shipping to {target.address}", sending.image.size)
    argv = target.engine.argv(["image", "load"])
    with (
        piped.feeding(argv, env=target.engine.environ, stall_s=STALL_S) as load,
        saved(source.engine, sending.tag, tell) as archive,
    ):
        fed, passed = Fed(load), None
        # It reads no more: how it ended, below, says why.
        with contextlib.suppress(BrokenPipeError):
            passed = _pass(archive, fed, sending, held)
            archive.finish()
        done = load.finish(END_S)
    if done.returncode != 0 or passed is None:
        raise failure(f"{target.address} did not take `{sending.tag}`", done)
    return passed, fed.bytes


def _pass(archive: Saved, fed: Fed, sending: Sending, held: int) -> Passed:
    if sending.converted:
        return convert(archive, fed, sending.names, held, sending.tag)
    return thin(archive, fed, sending.names, held)


def verify(source: Side, target: Side, tag: str, image: ImageRecord) -> None:
    """Return if the other engine has the image and can run it.

    An engine may print that it loaded an image which it cannot run.

    Raises:
        EnvironmentFailed: it has another, or cannot run it.
    """
    there = find_image(target.engine, tag)
    if there is None or not there.is_same(image):
        what = "nothing" if there is None else "another image"
        raise EnvironmentFailed(
            f"{target.address} took `{tag}`, and has {what} of that name",
            hint="ship it again",
        )
    if not runs(source, target, tag):
        raise EnvironmentFailed(
            f"{target.address} has `{tag}`, but cannot run it",
            hint=f"there: docker run --rm {tag}",
        )


def runs(source: Side, target: Side, tag: str) -> bool:
    """Return whether the other engine runs the image: `true`, or what has none fails alike."""
    done = _run_true(target.engine, tag)
    if done.returncode == 0:
        return True
    return _lacks_true(done) and _lacks_true(_run_true(source.engine, tag))


def _run_true(engine: Engine, tag: str) -> Completed:
    words = ["run", "--rm", "--pull", "never", "--network", "none", "--entrypoint", "true", tag]
    return engine.run(words, timeout_s=_RUN_S)


def _lacks_true(done: Completed) -> bool:
    return done.returncode == 127 and bool(_NO_TRUE.search(done.complaint))
