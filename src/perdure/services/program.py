"""What a service runs on its target, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from perdure.services.side.keeper import PRIVATE, SOCKET

__all__ = [
    "DEFAULT",
    "NAMES",
    "PRIVATE",
    "SOCKET",
    "Limits",
    "Program",
    "id_of",
    "ports_of",
    "spec_of",
]

NAMES = ("jupyter", "tensorboard", "files")

IDLE_S = 2 * 3600.0
LIFETIME_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When a service ends by itself: after so long without use, and after so long at all."""

    idle_s: float = IDLE_S
    lifetime_s: float = LIFETIME_S


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Program:
    """A command that serves on the unix socket `SOCKET`, and what a gate has to know of it.

    `files` are made below the service's folder. `path` is where a browser begins, `quiet` are
    beginnings of paths that its pages ask for by themselves, `busy` a path that tells of work,
    `script` is run once by a browser that comes in. `after` are commands for when it has ended.
    `owner`: whom the program runs as, where that is not whoever starts it.
    """

    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"
    quiet: tuple[str, ...] = ()
    busy: str = ""
    script: str = ""
    owner: tuple[int, int] | None = None
    after: tuple[tuple[str, ...], ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)


def spec_of(name: str, identity: str, program: Program, limits: Limits) -> dict[str, Any]:
    """Return what a keeper is told. Pure."""
    return {"name": name, "id": identity, **asdict(program), **asdict(limits)}


def id_of(root: str, target: str, name: str) -> str:
    """Return what tells a service from all others: its cookie and its port come from it. Pure."""
    return hashlib.sha256(f"{root}\0{target}\0{name}".encode()).hexdigest()[:8]


def ports_of(identity: str) -> list[int]:
    """Return the ports that a service takes, the best first: the same ones each time. Pure.

    They lie below those that systems hand out by themselves.
    """
    first = 20_000 + int(identity, 16) % 10_000
    return [first + number for number in range(20)]
