"""What a container engine says of itself, of an image and of a container, as values.

Source: the Docker Engine API, `/version`, `/info`, `/images/NAME/json`, `/containers/NAME/json`;
the client prints the same documents for `--format '{{json .}}'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Document = Mapping[str, object]

_CONTAINERD = "io.containerd.snapshotter"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image as an engine has it: `layers` name the contents, the same on every engine.

    `size` is in bytes, as the engine counts: compressed on some, not on others. `platform` is such
    as `linux/amd64`.
    """

    id: str
    layers: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int
    labels: Mapping[str, str]
    platform: str


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """A container: `state` is the engine's word, such as `running`; `pid` is 0 where it is not.

    `image` is the id of its image, `started_at` the engine's own text (RFC 3339).
    """

    id: str
    name: str
    image: str
    state: str
    exit_code: int
    pid: int
    labels: Mapping[str, str]
    started_at: str


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """What an engine is and can: `storage` is `classic` or `containerd`.

    Only the containerd image store gives two builds of one thing one digest. `gpus`: it can hand
    NVIDIA's to a container.
    """

    server: str
    api: str
    platform: str
    storage: str
    buildkit: bool
    rootless: bool
    gpus: bool


def image_facts(document: Document) -> ImageFacts:
    """Return the facts of an inspected image."""
    layers = _table(document, "RootFS").get("Layers")
    digests = document.get("RepoDigests")
    config = _table(document, "Config")
    return ImageFacts(
        id=_text(document, "Id"),
        layers=_texts(layers),
        repo_digests=_texts(digests),
        size=_number(document, "Size"),
        labels=_labels(config),
        platform=f"{_text(document, 'Os')}/{_text(document, 'Architecture')}",
    )


def container_facts(document: Document) -> ContainerFacts:
    """Return the facts of an inspected container."""
    state = _table(document, "State")
    return ContainerFacts(
        id=_text(document, "Id"),
        name=_text(document, "Name").removeprefix("/"),
        image=_text(document, "Image"),
        state=_text(state, "Status"),
        exit_code=_number(state, "ExitCode"),
        pid=_number(state, "Pid"),
        labels=_labels(_table(document, "Config")),
        started_at=_text(state, "StartedAt"),
    )


def engine_version(version: Document, info: Document, *, podman: bool) -> EngineVersion:
    """Return what an engine's two answers about itself say."""
    api = _text(version, "ApiVersion") or _text(version, "APIVersion")
    options = " ".join(_texts(info.get("SecurityOptions")))
    system = _text(version, "Os") or _text(version, "OsArch").partition("/")[0]
    machine = _text(version, "Arch") or _text(version, "OsArch").partition("/")[2]
    return EngineVersion(
        server=_text(version, "Version"),
        api=api,
        platform=f"{system}/{machine}",
        storage="containerd" if _CONTAINERD in str(info.get("DriverStatus")) else "classic",
        # Podman builds with buildah, which knows the same mounts and secrets.
        buildkit=podman or _at_least(api, (1, 39)),
        rootless="rootless" in options,
        gpus="nvidia" in _table(info, "Runtimes") or "nvidia" in str(info.get("DiscoveredDevices")),
    )


def podman_version(info: Document) -> EngineVersion:
    """Return what `podman info` says, where no socket answers as Docker's does."""
    host = _table(info, "host")
    version = _table(info, "version")
    return EngineVersion(
        server=_text(version, "Version"),
        api=_text(version, "APIVersion"),
        platform=f"{_text(host, 'os')}/{_text(host, 'arch')}",
        storage="classic",
        buildkit=True,
        rootless=_table(host, "security").get("rootless") is True,
        gpus=False,
    )


def _at_least(api: str, wanted: tuple[int, int]) -> bool:
    major, _, minor = api.partition(".")
    return major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) >= wanted


def _table(document: Document, key: str) -> Document:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _text(document: Document, key: str) -> str:
    found = document.get(key)
    return found if isinstance(found, str) else ""


def _number(document: Document, key: str) -> int:
    found = document.get(key)
    return found if isinstance(found, int) else 0


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def _labels(config: Document) -> Mapping[str, str]:
    return {str(name): str(value) for name, value in _table(config, "Labels").items()}
