"""An archive of an engine with the classic store, as an image layout for the containerd store.

That store reads a classic archive only whole. As a layout (opencontainers/image-spec,
image-layout.md) it may lack blobs that are there already: each layer is a blob named by the digest
of its contents, uncompressed, so that the next archive finds it under the same name.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from perdure.images.archive import (
    Descriptor,
    Passed,
    Reading,
    UnexpectedArchive,
    Writing,
    members,
    thin_members,
    writing,
)
from perdure.images.archive_names import LayerNames, blob_path

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Blob:
    """A small blob: its digest and what is in it."""

    digest: str
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> Blob:
        """Return the blob of that content."""
        return cls("sha256:" + sha256(content).hexdigest(), content)


def familiar_to_full(reference: str) -> str:
    """Return a reference with its registry, as the containerd store names images."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


def uncompressed(layers: Sequence[str]) -> tuple[Descriptor, ...]:
    """Return the layers as a manifest names them that has them as they are."""
    return tuple(Descriptor(layer, LAYER_TYPE) for layer in layers)


def probe_archive(
    layers: Sequence[str], descriptors: Sequence[Descriptor], platform: tuple[str, str], name: str
) -> bytes:
    """Return an archive of an image that has layers but not one of their blobs."""
    system, machine = platform
    config = {
        "architecture": machine,
        "os": system,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
    }
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as written:
        sizes = [1] * len(layers)
        _write_image(written, Blob.of(_text(config)), descriptors, sizes, name)
    return output.getvalue()


def convert(
    source: Reading, target: Writing, names: LayerNames, held: int, reference: str
) -> Passed:
    """Return what passed once a classic archive is written as a layout without `held` layers.

    Raises:
        UnexpectedArchive: the layers are not where `names` has them; what was written is no use.
        tarfile.TarError: the archive is damaged, or ends too early.
    """
    passed, left_out = Passed(), names.droppable(held)
    config: Blob | None = None
    with writing(target) as written:
        for member, content, layer in thin_members(members(source), names):
            if layer is None and member.name.endswith(".json") and "/" not in member.name:
                blob = Blob.of(content.read())
                config = blob if _is_configuration(blob) else config
            elif layer is not None and member.isfile():
                passed.note(layer, member.size, skipped=layer in left_out)
                if layer not in left_out:
                    member.name = blob_path(layer)
                    written.addfile(member, content)
        if config is None:
            raise UnexpectedArchive("no configuration")
        all_sizes = passed.skipped | passed.sent
        sizes = [all_sizes[layer] for layer in names.layers]
        _write_image(written, config, uncompressed(names.layers), sizes, reference)
    return passed


def _is_configuration(blob: Blob) -> bool:
    document = json.loads(blob.content)
    return isinstance(document, dict) and "rootfs" in document


def _write_image(
    written: tarfile.TarFile,
    config: Blob,
    descriptors: Sequence[Descriptor],
    sizes: Sequence[int],
    reference: str,
) -> None:
    """Write everything of a layout but its layers."""
    manifest = _manifest(config, descriptors, sizes)
    named = {
        "io.containerd.image.name": familiar_to_full(reference),
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    entry = {**_described(manifest, _MANIFEST_TYPE), "annotations": named}
    paths = [blob_path(each.digest) for each in descriptors]
    docker = {"Config": blob_path(config.digest), "RepoTags": [reference], "Layers": paths}
    _write(written, blob_path(config.digest), config.content)
    _write(written, blob_path(manifest.digest), manifest.content)
    _write(written, "index.json", _text({"schemaVersion": 2, "manifests": [entry]}))
    _write(written, "manifest.json", _text([docker]))
    _write(written, "oci-layout", _text({"imageLayoutVersion": "1.0.0"}))


def _manifest(config: Blob, descriptors: Sequence[Descriptor], sizes: Sequence[int]) -> Blob:
    layers = [
        {"mediaType": each.media_type, "digest": each.digest, "size": size}
        for each, size in zip(descriptors, sizes, strict=True)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": _described(config, _CONFIG_TYPE),
        "layers": layers,
    }
    return Blob.of(_text(document))


def _described(blob: Blob, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": len(blob.content)}


def _text(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _write(written: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    written.addfile(member, io.BytesIO(content))
