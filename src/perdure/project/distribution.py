"""What a project is once it is installed: a name, a version, commands, other entry points. Pure.

Sources: https://packaging.python.org/en/latest/specifications/pyproject-toml/ and `entry-points/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from perdure.errors import UsageError

Groups = Mapping[str, Mapping[str, str]]

COMMANDS = ("console_scripts", "gui_scripts")

_KEYS = {"scripts": COMMANDS[0], "gui-scripts": COMMANDS[1]}
_STATIC = ("version", "entry-points", *_KEYS)
# Build backends that, left to themselves, only copy: the first word of `build-backend`.
_COPYING = frozenset(("flit_core", "hatchling", "pdm", "poetry", "setuptools", "uv_build"))
_COMMAND = re.compile(r"(?!python[\d.]*\Z)[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_TARGET = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*:\s*(?P<object>\w+(?:\.\w+)*)\s*(?:\[.*\])?")


@dataclass(frozen=True, slots=True)
class Distribution:
    """The project as installers know it.

    `version` is None where only the build backend knows it. `groups` are its entry points, those of
    its commands among them. `backend` is the one that has to run for the project to be installed,
    None where nothing of it needs building. What it depends on is not in it: that is the lock's.
    """

    name: str
    version: str | None = None
    requires_python: str = ""
    groups: Groups = field(default_factory=lambda: MappingProxyType({}))
    backend: str | None = None

    def commands(self) -> Mapping[str, str]:
        """Return the commands by name, each with the `module:object` that it calls."""
        return {name: each for key in COMMANDS for name, each in self.groups.get(key, {}).items()}


def distribution_of(document: Mapping[str, object], root: Path) -> Distribution:
    """Return the distribution that a parsed pyproject.toml describes; looks for a setup.py.

    Raises:
        UsageError: a command has a name that no file can have, or calls nothing that can be called.
    """
    table = _table(document, "project")
    groups = {group: _texts(table, key) for key, group in _KEYS.items()}
    points = _table(table, "entry-points")
    groups |= {group: _texts(points, group) for group in points}
    found = Distribution(
        name=_text(table, "name") or root.name,
        version=_text(table, "version"),
        requires_python=_text(table, "requires-python") or "",
        groups=MappingProxyType({group: each for group, each in groups.items() if each}),
        backend=_needed(document, root),
    )
    for name, target in found.commands().items():
        if not _COMMAND.fullmatch(name) or not _TARGET.fullmatch(target):
            raise UsageError(
                f"the command `{name}` of the project cannot be made: it calls `{target}`",
                hint='in pyproject.toml, `[project.scripts]`: NAME = "package.module:function"',
            )
    return found


def call(target: str) -> tuple[str, str]:
    """Return the line that imports what a command calls, and the expression that calls it."""
    found = _TARGET.fullmatch(target)
    assert found is not None  # `distribution_of` has refused it
    first = found["object"].partition(".")[0]
    return f"from {found['module']} import {first}", f"{found['object']}()"


def _needed(document: Mapping[str, object], root: Path) -> str | None:
    """Return the build backend if it has to run, None if all it would do is known without it."""
    system = _table(document, "build-system")
    backend = _text(system, "build-backend") or "setuptools.build_meta:__legacy__"
    kind = backend.partition(".")[0].partition(":")[0]
    dynamic = _strings(_table(document, "project").get("dynamic"))
    hooks = _table(_table(_table(_table(document, "tool"), "hatch"), "build"), "hooks")
    builds = (
        kind not in _COPYING
        or "backend-path" in system
        or any(each in _STATIC for each in dynamic)
        or (kind == "setuptools" and (root / "setup.py").is_file())
        or bool(hooks)
    )
    return backend if builds else None


def _table(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _text(table: Mapping[str, object], key: str) -> str | None:
    found = table.get(key)
    return found if isinstance(found, str) else None


def _texts(table: Mapping[str, object], key: str) -> Mapping[str, str]:
    found = _table(table, key).items()
    return {name: each.strip() for name, each in sorted(found) if isinstance(each, str)}


def _strings(found: object) -> Iterator[str]:
    items: Iterable[object] = found if isinstance(found, list) else ()
    return (each for each in items if isinstance(each, str))
