"""Archives of `docker save`, thinned while they stream."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from hashlib import sha256

import pytest

from perdure.images.archive import (
    Descriptor,
    UnexpectedArchive,
    layer_paths,
    read_descriptors,
    read_names,
    thin,
)
from perdure.images.archive_layout import convert, familiar_to_full, probe_archive, uncompressed
from perdure.images.archive_names import LayerNames, blob_path

CONTENTS = (b"base" * 5000, b"tools" * 3000, b"code" * 10)
LAYERS = tuple("sha256:" + sha256(content).hexdigest() for content in CONTENTS)
CONFIG = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": LAYERS}}).encode()
CONFIG_NAME = f"{sha256(CONFIG).hexdigest()}.json"
LAST = "f" * 64


def archive(entries: Mapping[str, bytes | str]) -> io.BytesIO:
    """Return an archive of files, and of links where the content is text."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as written:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                written.addfile(member)
            else:
                member.size = len(content)
                written.addfile(member, io.BytesIO(content))
    output.seek(0)
    return output


def old_paths(layers: Sequence[str] = LAYERS) -> list[str]:
    """Return where an old engine's archive has the layers."""
    names = LayerNames.predicted(layers).paths
    foreseen = [path for path in names if path.endswith("/layer.tar")]
    return [*foreseen, f"{LAST}/layer.tar"]


def manifest(paths: Sequence[str]) -> bytes:
    return json.dumps([{"Config": CONFIG_NAME, "RepoTags": ["a:b"], "Layers": paths}]).encode()


def old_archive() -> io.BytesIO:
    paths = old_paths()
    entries: dict[str, bytes | str] = dict(zip(paths, CONTENTS, strict=True))
    entries |= {CONFIG_NAME: CONFIG, "manifest.json": manifest(paths), "repositories": b"{}"}
    return archive(entries)


def blobs(content: Mapping[str, bytes]) -> dict[str, bytes | str]:
    return {f"blobs/sha256/{name}": each for name, each in content.items()}


def names_in(output: io.BytesIO) -> list[str]:
    output.seek(0)
    with tarfile.open(fileobj=output) as found:
        return found.getnames()


def read(output: io.BytesIO, name: str) -> bytes:
    output.seek(0)
    with tarfile.open(fileobj=output) as found:
        content = found.extractfile(name)
        assert content is not None
        return content.read()


def test_an_old_engine_names_layers_by_their_chain() -> None:
    """The name was seen in an archive that Docker 20.10 wrote."""
    layers = ["sha256:5823c635d5987a79a360d2dc68c223500600562436d31c0f36e20ecdad050a7b", "x"]
    name = "15fd4454c631db04ad1354a8759f5cdaca985b7c4076485ef9263378cee30345/layer.tar"
    assert LayerNames.predicted(layers).layer_at(name) == layers[0]


@pytest.mark.parametrize("held", [0, 1, 2, 3])
def test_only_layers_are_left_out(held: int) -> None:
    output, paths = io.BytesIO(), old_paths()
    passed = thin(old_archive(), output, LayerNames.predicted(LAYERS), held)
    others = [CONFIG_NAME, "manifest.json", "repositories"]
    assert names_in(output) == [*paths[held:], *others]
    assert set(passed.skipped) == set(LAYERS[:held])
    assert set(passed.sent) == set(LAYERS[held:])
    assert sum(passed.skipped.values()) == sum(len(content) for content in CONTENTS[:held])


def test_a_layer_that_is_needed_again_stays() -> None:
    layers = (LAYERS[0], LAYERS[1], LAYERS[0])
    paths = old_paths(layers)
    entries: dict[str, bytes | str] = {paths[0]: CONTENTS[0], paths[1]: CONTENTS[1]}
    entries |= {paths[2]: f"../{paths[0]}", "manifest.json": manifest(paths)}
    output = io.BytesIO()
    thin(archive(entries), output, LayerNames.predicted(layers), 2)
    assert names_in(output) == [paths[0], paths[2], "manifest.json"]


def test_blobs_named_by_their_contents_are_foreseen() -> None:
    paths = [blob_path(layer) for layer in LAYERS]
    entries = {**dict(zip(paths, CONTENTS, strict=True)), "manifest.json": manifest(paths)}
    output = io.BytesIO()
    thin(archive(entries), output, LayerNames.predicted(LAYERS), 2)
    assert names_in(output) == [paths[2], "manifest.json"]


@pytest.mark.parametrize("name", ["a" * 64 + "/layer.tar", "other.tar"])
def test_names_of_another_kind_are_noticed(name: str) -> None:
    """Then nothing that was written may be used: the archive has to be read for its names."""
    paths = [name, *old_paths()[1:]]
    entries = {**dict(zip(paths, CONTENTS, strict=True)), "manifest.json": manifest(paths)}
    with pytest.raises(UnexpectedArchive):
        thin(archive(entries), io.BytesIO(), LayerNames.predicted(LAYERS), 1)
    names = read_names(archive(entries), LAYERS)
    output = io.BytesIO()
    thin(archive(entries), output, names, 1)
    assert names_in(output) == [*paths[1:], "manifest.json"]


def test_an_archive_that_ends_too_early_is_an_error() -> None:
    whole = old_archive().getvalue()
    for end in (0, 600, 10_000, len(whole) // 2):
        with pytest.raises((tarfile.TarError, UnexpectedArchive)):
            thin(io.BytesIO(whole[:end]), io.BytesIO(), LayerNames.predicted(LAYERS), 1)


@pytest.mark.parametrize("text", [None, b"", b"[]", b"{}", b"[1]", b'[{"Layers": 1}]', b"\xff"])
def test_a_manifest_that_says_nothing_is_an_error(text: bytes | None) -> None:
    with pytest.raises(UnexpectedArchive):
        layer_paths(text)


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    digest = "sha256:" + sha256(content).hexdigest()
    return {"digest": digest, "mediaType": media_type, "size": len(content)}


def test_the_manifest_is_found_below_an_index_and_not_an_attestation() -> None:
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    statement = json.dumps({"layers": [descriptor(b"x", "application/vnd.in-toto+json")] * 3})
    image = json.dumps({"layers": [descriptor(content, kind) for content in CONTENTS]})
    below = [descriptor(each.encode(), "") for each in (statement, image)]
    index = json.dumps({"manifests": below})
    parts = [each.encode() for each in (index, statement, image)]
    entries = blobs({sha256(part).hexdigest(): part for part in parts})
    found = read_descriptors(archive(entries), "sha256:" + sha256(parts[0]).hexdigest(), 3)
    assert [each.digest for each in found] == list(LAYERS)
    assert found[0] == Descriptor(LAYERS[0], kind)


def test_an_image_whose_manifest_is_missing_is_noticed() -> None:
    with pytest.raises(UnexpectedArchive):
        read_descriptors(archive({"index.json": b"{}"}), LAYERS[0], 3)


def test_a_classic_archive_becomes_a_layout() -> None:
    output = io.BytesIO()
    names = LayerNames.predicted(LAYERS)
    passed = convert(old_archive(), output, names, 2, "perdure/cats:runtime")
    assert set(passed.sent) == {LAYERS[2]}
    assert [name for name in names_in(output) if name == blob_path(LAYERS[2])]
    assert blob_path(LAYERS[0]) not in names_in(output)
    (entry,) = json.loads(read(output, "index.json"))["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/perdure/cats:runtime"
    text = read(output, blob_path(entry["digest"]))
    assert "sha256:" + sha256(text).hexdigest() == entry["digest"]
    layers = json.loads(text)["layers"]
    assert [each["digest"] for each in layers] == list(LAYERS)
    assert [each["size"] for each in layers] == [len(content) for content in CONTENTS]
    config = json.loads(text)["config"]["digest"]
    assert read(output, blob_path(config)) == CONFIG


def test_a_probe_has_no_layers() -> None:
    content = probe_archive(LAYERS, uncompressed(LAYERS), ("linux", "amd64"), "perdure/probe:x")
    assert not set(names_in(io.BytesIO(content))) & {blob_path(layer) for layer in LAYERS}


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("debian:12", "docker.io/library/debian:12"),
        ("perdure/cats:a", "docker.io/perdure/cats:a"),
        ("localhost/cats:a", "localhost/cats:a"),
        ("registry.lab/cats:a", "registry.lab/cats:a"),
        ("host:5000/cats:a", "host:5000/cats:a"),
    ],
)
def test_a_name_in_full(reference: str, full: str) -> None:
    assert familiar_to_full(reference) == full
