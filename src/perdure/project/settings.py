"""The user's own settings: one file for all projects, one for a project on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import UnsetType

from perdure.model.settings import Docker, Index, IndexFormat, Settings, TargetSettings
from perdure.project import tables
from perdure.project.find import PROJECT_FILE
from perdure.project.targets import Layer, merge, target_problems, team_layer
from perdure.project.validate import Problem, dotted, problems_in, read_toml, refuse, refuse_newer

__all__ = [
    "Docker",
    "Index",
    "IndexFormat",
    "Settings",
    "TargetSettings",
    "load_settings",
    "settings_files",
]

T = TypeVar("T")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def load_settings(
    root: Path | None = None, *, environ: Mapping[str, str] | None = None
) -> Settings:
    """Return the user's settings, those of the project in `root` over the ones for all projects.

    The targets that the project names for its whole team are among them, below the user's own.

    Raises:
        UsageError: naming every problem of the first file that has any.
        NewerFormatError: a file is for a newer perdure.
    """
    environ = os.environ if environ is None else environ
    settings = Settings()
    targets = [] if root is None else [team_layer(root / PROJECT_FILE)]
    for file in settings_files(root, environ):
        if file.is_file():
            table = _decode(read_toml(file), file)
            settings = _over(settings, table, file)
            targets.append(Layer(file, "targets", table.targets))
    return replace(settings, targets=merge(targets))


def settings_files(root: Path | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where settings may lie, the stronger ones last."""
    configured = environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(configured) if configured.startswith("/") else _home(environ) / ".config"
    user = base / "perdure" / "config.toml"
    return (user,) if root is None else (user, root / ".perdure" / "local.toml")


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path("~").expanduser()


def _decode(table: dict[str, object], file: Path) -> tables.SettingsTable:
    refuse_newer(table, tables.FORMAT, file)
    problems = problems_in(table, tables.SettingsTable)
    if not problems:
        problems = _contradictions(msgspec.convert(table, tables.SettingsTable), file)
    refuse(file, problems)
    return msgspec.convert(table, tables.SettingsTable)


def _contradictions(table: tables.SettingsTable, file: Path) -> list[Problem]:
    """Return what does not fit this machine."""
    found = [
        Problem(dotted("indexes", name), f"there is no folder `{_text(index)}`")
        for name, index in table.indexes.items()
        if (folder := _folder(_text(index), file)) is not None and not folder.is_dir()
    ]
    found += target_problems(table.targets, "targets")
    if not isinstance(table.docker, UnsetType):
        numbers = {"user_id": table.docker.user_id, "group_id": table.docker.group_id}
        found += [
            Problem(f"docker.{name}", "is 0, which is root; containers run as an ordinary user")
            for name, number in numbers.items()
            if number == 0
        ]
    return found


def _over(weaker: Settings, table: tables.SettingsTable, file: Path) -> Settings:
    indexes = {name: _index(name, each, file) for name, each in table.indexes.items()}
    return Settings(
        indexes=MappingProxyType({**weaker.indexes, **indexes}),
        default_variant=_set(table.default_variant, weaker.default_variant),
        editor=_set(table.editor, weaker.editor),
        docker=_docker_over(weaker.docker, table.docker),
        files=(*weaker.files, file),
    )


def _docker_over(weaker: Docker, table: tables.DockerTable | UnsetType) -> Docker:
    if isinstance(table, UnsetType):
        return weaker
    return Docker(
        program=_set(table.program, weaker.program),
        user_id=_set(table.user_id, weaker.user_id),
        group_id=_set(table.group_id, weaker.group_id),
    )


def _set(value: T | UnsetType, otherwise: T | None) -> T | None:
    return otherwise if isinstance(value, UnsetType) else value


def _text(index: str | tables.IndexTable) -> str:
    return index if isinstance(index, str) else index.url


def _index(name: str, index: str | tables.IndexTable, file: Path) -> Index:
    folder = _folder(_text(index), file)
    url = _text(index) if folder is None else folder.as_uri()
    given = None if isinstance(index, str) or isinstance(index.format, UnsetType) else index.format
    return Index(name, url, IndexFormat(given) if given else _format_of(folder))


def _folder(text: str, file: Path) -> Path | None:
    """Return the folder a value means, relative to the file it stands in; None for a remote URL."""
    if text.startswith("file:"):
        return Path(unquote(urlsplit(text).path))
    if _URL.match(text):
        return None
    return Path(os.path.normpath(file.parent.absolute() / Path(text).expanduser()))


def _format_of(folder: Path | None) -> IndexFormat:
    """Return how an index looks: a folder is flat unless it has a page for a package."""
    if folder is None or next(folder.glob("*/index.html"), None) is not None:
        return IndexFormat.SIMPLE
    return IndexFormat.FLAT
