"""What the probes look at: the project, the user's settings, the container engine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

from perdure.errors import PerdureError, TimeoutExpired
from perdure.hosts.engine import Engine, EngineVersion, find_engine
from perdure.hosts.limited import Limited
from perdure.model.project import Project
from perdure.model.settings import Settings

ENGINE_S = 20.0
LOOK_S = 40.0


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """A container engine, or why there is none: `info` is what it says of itself."""

    engine: Engine | None = None
    version: EngineVersion | None = None
    info: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    error: PerdureError | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where perdure was called: `mistakes` are what is wrong with the project's and user's files.

    No `project` where there is none, or where its file has mistakes.
    """

    start: Path
    environ: Mapping[str, str]
    project: Project | None = None
    settings: Settings = field(default_factory=Settings)
    mistakes: tuple[PerdureError, ...] = ()
    seen: EngineSeen = field(default_factory=EngineSeen)

    @property
    def folder(self) -> Path:
        """Return the project's folder, else the one perdure was called in."""
        return self.project.root if self.project else self.start

    @property
    def variant(self) -> str | None:
        """Return the variant that jobs get unless they ask for another."""
        chosen = self.project.environment.default_variant if self.project else None
        return self.settings.default_variant or chosen


def look_around(start: Path, environ: Mapping[str, str] | None = None) -> Surroundings:
    """Return what is around a folder; nothing that is missing or broken is an error.

    Reads the project's and the user's files, and asks the engine, for up to 40 s.
    """
    environ = dict(os.environ) if environ is None else dict(environ)
    mistakes: list[PerdureError] = []
    project = _project(start, mistakes)
    settings = _settings(project, environ, mistakes)
    # Three questions, each with a limit of its own, may take too long together.
    asking = Limited(partial(look_at_engine, settings, environ), "engine")
    silent = TimeoutExpired(f"the container engine did not answer within {LOOK_S:g} s")
    seen = asking.answer(LOOK_S) or EngineSeen(error=silent)
    return Surroundings(start, environ, project, settings, tuple(mistakes), seen)


def look_at_engine(settings: Settings, environ: Mapping[str, str]) -> EngineSeen:
    """Return the engine that the settings and the environment lead to, and what it is."""
    try:
        engine = find_engine(settings, environ)
    except PerdureError as error:
        return EngineSeen(error=error)
    try:
        return EngineSeen(engine, engine.version(), _info(engine))
    except PerdureError as error:
        return EngineSeen(engine, error=error)


def _info(engine: Engine) -> Mapping[str, object]:
    told = engine.run(["info", "--format", "{{json .}}"], timeout_s=ENGINE_S)
    try:
        info = json.loads(told.stdout)
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}


def _project(start: Path, mistakes: list[PerdureError]) -> Project | None:
    from perdure.project.decode import load_project
    from perdure.project.find import find_project

    try:
        root = find_project(start)
    except PerdureError:
        return None
    try:
        return load_project(root)
    except PerdureError as error:
        mistakes.append(error)
        return None


def _settings(
    project: Project | None, environ: Mapping[str, str], mistakes: list[PerdureError]
) -> Settings:
    from perdure.project.settings import load_settings

    try:
        return load_settings(project.root if project else None, environ=environ)
    except PerdureError as error:
        mistakes.append(error)
        return Settings()
