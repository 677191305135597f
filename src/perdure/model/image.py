"""An image: what it is made from, what it is made for, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType


class Stage(Enum):
    """What an image is for: `RUNTIME` runs jobs, `DEV` is worked in and holds RUNTIME."""

    RUNTIME = "runtime"
    DEV = "dev"


class Tier(Enum):
    """A layer of Python packages, in the order of installation: what changes most comes last."""

    HEAVY = "heavy"
    MID = "mid"
    LIGHT = "light"


class PythonSource(Enum):
    """Where an image's Python comes from: the base image, Debian's package, or uv."""

    BASE = "base"
    APT = "apt"
    UV = "uv"


@dataclass(frozen=True, slots=True)
class Base:
    """A base image as it was found: `layers` is a digest of its contents, the same on all engines.

    `reference` is what a Dockerfile names: `name@sha256:...` where the image came from a registry,
    else the name alone. `release` is Debian's codename; `python` a version such as `3.11.2`, None
    where there is none in it.
    """

    name: str
    reference: str
    layers: str
    release: str
    python: str | None


@dataclass(frozen=True, slots=True)
class AptPackage:
    """A Debian package file: `file` is its name in apt's cache, `sha256` 64 hexadecimal digits."""

    name: str
    version: str
    file: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """A conda package file, by its URL without credentials.

    `python` is the Python package in it by the name that pip has for it, empty where there is none.
    """

    name: str
    version: str
    build: str
    url: str
    sha256: str
    python: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package of uv.lock that an environment gets.

    `hashes` are `sha256:...`, `marker` is a PEP 508 marker or empty. `file` is a wheel on this
    machine, None where an index has it; `index` is that index without credentials, None for uv's
    default. `url` is a place of its own outside all indexes. `has_wheel` is False where only a
    source distribution is there.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    marker: str = ""
    file: Path | None = None
    index: str | None = None
    has_wheel: bool = True
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ImageLock:
    """What an image is made from beside uv.lock: perdure.lock.

    `wanted` is a digest of the Python declarations it was made for, `image` of all that concerns
    images only (the base, Debian and conda packages, steps), `uv` the SHA-256 of the uv.lock beside
    it. `tiers` says of each Python package in which layer it is. `base` is None where no engine
    could be asked: such a lock serves `local` only. `apt` has every package of a stage (`build`,
    `runtime`, `dev`) that the base lacks.
    """

    wanted: str
    uv: str
    tiers: Mapping[str, Tier]
    platform: str = "linux/amd64"
    base: Base | None = None
    python: str = ""
    python_source: PythonSource = PythonSource.BASE
    apt: Mapping[str, tuple[AptPackage, ...]] = field(default_factory=lambda: MappingProxyType({}))
    conda: tuple[CondaPackage, ...] = ()
    image: str = ""


@dataclass(frozen=True, slots=True)
class ImageUser:
    """Whom a container runs as: neither number is 0."""

    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image that an engine has: its tag, and the engine's own name for its contents."""

    tag: str
    id: str
    stage: Stage
    variant: str | None
    user: ImageUser
    pegged: bool = False
