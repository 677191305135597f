"""A user's own facts: what is true of them and their machine, and never of the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType


class IndexFormat(Enum):
    """How a package index lists its files: a page for each package, or one folder or page."""

    SIMPLE = "simple"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class Index:
    """Where the packages of a project's index are to be taken from instead.

    `url` may carry a user and a password: it is for uv's environment, never for a message.
    """

    name: str
    url: str
    format: IndexFormat


@dataclass(frozen=True, slots=True)
class Docker:
    """How containers are run here: which client, and as whom. None: as it is found."""

    program: str | None = None
    user_id: int | None = None
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The user's settings, the project's local ones over the ones for all projects."""

    indexes: Mapping[str, Index] = field(default_factory=lambda: MappingProxyType({}))
    default_variant: str | None = None
    editor: str | None = None
    docker: Docker = Docker()
    files: tuple[Path, ...] = ()
