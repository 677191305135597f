"""Where an archive of `docker save` has its layers, foreseen before it is read. Pure.

The manifest stands at the end of the archive, so what to leave out has to be known before. Engines
up to Docker 24 name a layer's folder by a digest that binds its chain of contents (moby,
`image/v1.CreateID`): equal names are equal layers. From Docker 25 on a blob is named by the digest
of its contents. With the containerd store the names are those of compressed blobs, which only the
manifest tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Self

_SHA256 = "sha256:"
# What every layer but the last is given in place of a configuration, in the order Go writes it.
_NO_CONFIG = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class LayerNames:
    """The layers of an image, and at which paths of its archive they are.

    `foreseen`: by rule, where the last one's path may be another; else as the manifest has it.
    """

    layers: tuple[str, ...]
    paths: Mapping[str, str]
    foreseen: bool

    @classmethod
    def predicted(cls, layers: Sequence[str]) -> Self:
        """Return the names that an engine without the containerd store gives."""
        paths = {f"{name}/layer.tar": layer for name, layer in _old_names(layers)}
        paths |= {blob_path(layer): layer for layer in layers}
        return cls(tuple(layers), MappingProxyType(paths), foreseen=True)

    @classmethod
    def explicit(cls, layers: Sequence[str], paths: Sequence[str]) -> Self:
        """Return the names that a manifest tells, one path for each layer."""
        found = dict(zip(paths, layers, strict=True))
        return cls(tuple(layers), MappingProxyType(found), foreseen=False)

    def layer_at(self, path: str) -> str | None:
        """Return the layer at a path of the archive, None where no layer is."""
        return self.paths.get(path)

    def droppable(self, held: int) -> frozenset[str]:
        """Return which layers can be left out if the other side has the first `held` of them."""
        return frozenset(self.layers[:held]) - frozenset(self.layers[held:])


def blob_path(digest: str) -> str:
    """Return where an image layout has the blob of that digest."""
    return f"blobs/sha256/{digest.removeprefix(_SHA256)}"


def chain_ids(layers: Sequence[str]) -> list[str]:
    """Return the digest of each layer together with those below it (image-spec, ChainID)."""
    chain: list[str] = []
    for layer in layers:
        joined = f"{chain[-1]} {layer}" if chain else None
        chain.append(layer if joined is None else _SHA256 + sha256(joined.encode()).hexdigest())
    return chain


def _old_names(layers: Sequence[str]) -> list[tuple[str, str]]:
    """Return each layer but the last with the name of its folder up to Docker 24."""
    named: list[tuple[str, str]] = []
    for layer, chain in zip(layers[:-1], chain_ids(layers), strict=False):
        told = {"container_config": _NO_CONFIG, "created": _EPOCH, "layer_id": chain}
        if named:
            told["parent"] = _SHA256 + named[-1][0]
        text = json.dumps(told, separators=(",", ":"))
        named.append((sha256(text.encode()).hexdigest(), layer))
    return named
