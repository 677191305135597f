"""Ships an image: to another engine, a registry, an archive or a squashfs file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from perdure.errors import EngineUnreachable, UsageError
from perdure.hosts.engine import Engine, find_engine
from perdure.images.ship_destination import Destination, Kind
from perdure.images.ship_image import ASK_S, ImageRecord, read_image
from perdure.images.shipment import Shipment
from perdure.model.report import Report
from perdure.model.settings import Settings

_SSH = "ssh://"
_CONTEXTS = ("DOCKER_CONTEXT", "DOCKER_HOST", "CONTAINER_HOST")


def ship(
    engine: Engine,
    reference: str,
    destination: Destination,
    *,
    settings: Settings,
    report: Report,
) -> Shipment:
    """Return what went over once the image is at its destination, and was verified there.

    Raises:
        UsageError: there is no such image, or no such destination.
        EnvironmentFailed: an engine or a registry refuses, or what arrived is no use.
        EngineUnreachable: an engine does not answer, or was lost in the middle.
        StorageError: a file cannot be written, or a disk is full.
    """
    image = read_image(engine, reference)
    tag = tag_of(image, reference)
    if destination.kind in (Kind.ENGINE, Kind.HOST):
        return _to_engine(engine, tag, image, destination, settings, report)
    if destination.kind is Kind.REGISTRY:
        from perdure.images.registry import push

        pushed = push(engine, image, tag, destination.reference(tag), report=report)
        called = pushed.reference
        return Shipment(tag, destination.address, called, pushed.moved, pushed.digest)
    if destination.kind is Kind.SQUASHFS:
        from perdure.images.squashfs import write_squashfs as write
    else:
        from perdure.images.ship_file import write_archive as write
    path = destination.path
    return Shipment(tag, str(path), str(path), write(engine, tag, image, path, report))


def refuse_destination(destination: Destination) -> None:
    """Return if there may be a file there; to be called before an image is built for it.

    Raises:
        UsageError, StorageError, MissingProgram: there can be none.
    """
    if destination.kind in (Kind.SQUASHFS, Kind.ARCHIVE):
        from perdure.images.ship_file import refuse_place

        refuse_place(destination.path)
    if destination.kind is Kind.SQUASHFS:
        from perdure.images.squashfs import find_program

        find_program()


def tag_of(image: ImageRecord, reference: str) -> str:
    """Return the tag that an image is shipped by: the one it was asked for by, else its first.

    Raises:
        UsageError: it has none.
    """
    for candidate in (reference, f"{reference}:latest"):
        if candidate in image.tags:
            return candidate
    if not image.tags:
        raise UsageError(
            f"image `{reference}` has no name to be shipped by",
            hint=f"docker tag {reference} NAME:TAG",
        )
    return image.tags[0]


def other_engine(
    destination: Destination, settings: Settings, environ: Mapping[str, str]
) -> Engine:
    """Return the engine that a destination names, once it answers.

    Raises:
        EngineUnreachable: it does not answer.
        HostUnreachable: ssh does not get to its host.
        MissingProgram: there is no client.
    """
    try:
        return _find_other(destination, settings, environ)
    except EngineUnreachable as error:
        address = _address_of(destination, settings)
        # What docker says of an ssh that failed has ssh's own words at its end.
        _, found, said = error.message.partition("stderr=")
        if address.startswith(_SSH) and found and error.message.find("status 255") > 0:
            from perdure.hosts.ssh_failure import failure

            host = address.removeprefix(_SSH)
            raise failure(host, host, said) from error
        hint = f"`docker -H {address} version` shows more"
        raise EngineUnreachable(error.message, hint=hint) from error


def _address_of(destination: Destination, settings: Settings) -> str:
    address = destination.address
    if destination.kind is Kind.ENGINE:
        return address
    target = settings.targets.get(address)
    return _SSH + (address if target is None else target.host)


def _find_other(destination: Destination, settings: Settings, environ: Mapping[str, str]) -> Engine:
    plain = {name: value for name, value in environ.items() if name not in _CONTEXTS}
    name = destination.address
    is_host = destination.kind is Kind.HOST and name not in settings.targets
    if is_host and _is_context(name, settings, plain):
        return find_engine(settings, plain | {"DOCKER_CONTEXT": name})
    return find_engine(settings, plain | {"DOCKER_HOST": _address_of(destination, settings)})


def _is_context(name: str, settings: Settings, environ: Mapping[str, str]) -> bool:
    from perdure.hosts import local
    from perdure.hosts.engine_client import find_program

    program = find_program(settings.docker.program, environ, building=False)
    argv = [program, "context", "inspect", name]
    return local.run(argv, env=environ, timeout_s=ASK_S).returncode == 0


def _to_engine(
    engine: Engine,
    tag: str,
    image: ImageRecord,
    destination: Destination,
    settings: Settings,
    report: Report,
) -> Shipment:
    from perdure.images.ship_engine import Side, send

    report(f"asking {destination.address} what it has")
    other = other_engine(destination, settings, os.environ)
    source = Side(engine, engine.version().storage, "this engine")
    target = Side(other, other.version().storage, destination.address)
    moved = send(source, target, tag, image, report)
    return Shipment(tag, destination.address, tag, moved)
