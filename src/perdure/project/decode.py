"""From pyproject.toml to a Project, or to all that is wrong with it."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
from msgspec import UnsetType

from perdure.model.project import GRACE_S, PULL, RETRIES, Project, Task
from perdure.project import tables
from perdure.project.environment import environment_of, environment_problems
from perdure.project.find import PROJECT_FILE, perdure_table
from perdure.project.targets import target_problems
from perdure.project.validate import (
    Problem,
    dotted,
    problems_in,
    read_toml,
    refuse,
    refuse_newer,
)

_AT = "tool.perdure"
_TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def load_project(root: Path) -> Project:
    """Return the project in `root`. Reads its pyproject.toml, and the files that this names.

    Raises:
        UsageError: naming every problem of the file.
        NewerFormatError: the table is for a newer perdure.
    """
    file = root / PROJECT_FILE
    return decode_project(read_toml(file), root)


def decode_project(document: Mapping[str, object], root: Path) -> Project:
    """Return the project that a parsed pyproject.toml describes. Reads the files that it names.

    Raises:
        UsageError: naming every problem of the file.
        NewerFormatError: the table is for a newer perdure.
    """
    root = root.absolute()
    file = root / PROJECT_FILE
    table = perdure_table(document)
    refuse_newer(table, tables.FORMAT, file)
    problems = problems_in({} if table is None else table, tables.ProjectTable, _AT)
    extras = _extras(document)
    if not problems:
        problems = _contradictions(msgspec.convert(table, tables.ProjectTable), extras, root)
    refuse(file, problems)
    decoded = msgspec.convert(table, tables.ProjectTable)
    return Project(
        root=root,
        name=_name(document) or root.name,
        package=decoded.package,
        tasks=MappingProxyType({name: _task(name, task) for name, task in decoded.tasks.items()}),
        environment=environment_of(decoded.environment, root),
        pull=PULL if isinstance(decoded.pull, UnsetType) else tuple(decoded.pull),
    )


def package_problem(package: str) -> str | None:
    """Return why a package cannot have this name, None where it can."""
    if not package.isidentifier() or not package.isascii():
        return f"`{package}` is not a Python identifier"
    if keyword.iskeyword(package):
        return f"`{package}` is a Python keyword"
    if package in sys.stdlib_module_names:
        debugger = ", which its debugger needs" if package == "code" else ""
        return f"`{package}` would hide Python's own module of that name{debugger}"
    return None


def _contradictions(
    table: tables.ProjectTable, extras: frozenset[str], root: Path
) -> list[Problem]:
    """Return what only shows when keys are seen together, or with the files they name."""
    found = [
        Problem(dotted(f"{_AT}.tasks", name), problem)
        for name, task in table.tasks.items()
        for problem in _task_problems(name, task)
    ]
    found += target_problems(table.targets, f"{_AT}.targets")
    problem = package_problem(table.package)
    if problem:
        found.append(Problem(f"{_AT}.package", f"{problem}; rename it, and its folder below `src`"))
    if not isinstance(table.environment, UnsetType):
        found += environment_problems(table.environment, f"{_AT}.environment", extras, root)
    return found


def _task_problems(name: str, task: str | list[str] | tables.TaskTable) -> Iterable[str]:
    if not _TASK_NAME.fullmatch(name):
        yield "a task's name has letters, digits, `.`, `_` and `-` only"
    try:
        words = _words(task)
    except ValueError as error:
        yield f"cannot be read as a command: {str(error).lower()}"
        return
    if not words or not words[0]:
        yield "the command is empty"
    elif any("\0" in word for word in words):
        yield "the command holds a null character"


def _task(name: str, task: str | list[str] | tables.TaskTable) -> Task:
    if isinstance(task, tables.TaskTable):
        return Task(
            name, _words(task), task.grace_s, task.retries, task.arguments, task.seed_argument
        )
    return Task(name, _words(task), GRACE_S, RETRIES)


def _words(task: str | list[str] | tables.TaskTable) -> tuple[str, ...]:
    command = task.command if isinstance(task, tables.TaskTable) else task
    return tuple(shlex.split(command) if isinstance(command, str) else command)


def _name(document: Mapping[str, object]) -> str | None:
    project = document.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return name if isinstance(name, str) else None


def _extras(document: Mapping[str, object]) -> frozenset[str]:
    project = document.get("project")
    extras = project.get("optional-dependencies") if isinstance(project, dict) else None
    return frozenset(extras) if isinstance(extras, dict) else frozenset()
