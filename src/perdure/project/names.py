"""Names a new project may have, and the package they make."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perdure.errors import UsageError
from perdure.project.decode import package_problem

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LONGEST = 50
# What the template imports or has beside the package: a package of that name would hide it.
_TAKEN = frozenset(
    ("numpy", "perdure", "pytest", "ruff", "scipy", "sklearn", "tests", "torch", "xxhash")
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the template needs to know; no `python` (such as `3.11`) stands for the one here."""

    name: str
    package: str
    description: str = ""
    author: str = ""
    python: str = ""


def answers_for(name: str, *, description: str = "", author: str = "") -> Answers:
    """Return the answers for a project of that name, its package named after it.

    Raises:
        UsageError: no project, or no package, can have that name.
    """
    check_name(name)
    package = re.sub(r"[.-]+", "_", name).lower()
    _check_package(package, name)
    return Answers(name, package, description, author)


def check_answers(answers: Answers) -> None:
    """Return if a project can be made from these answers.

    Raises:
        UsageError: no project, or no package, can have that name.
    """
    check_name(answers.name)
    _check_package(answers.package, answers.name)


def check_name(name: str) -> None:
    """Return if a project can have that name: it becomes a folder and a distribution (PEP 508).

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a project cannot be called {name!r}: letters, digits, `-`, `_` and `.` only, "
            "a letter or digit first and last",
            hint=f"perdure new {_near(name)}",
        )
    if len(name) > _LONGEST:
        raise UsageError(
            f"a project's name has at most {_LONGEST} characters, this one {len(name)}",
            hint=f"perdure new {_near(name[:_LONGEST])}",
        )


def _check_package(package: str, name: str) -> None:
    problem = package_problem(package)
    if problem is None and package in _TAKEN:
        problem = f"`{package}` is imported by the project itself"
    if problem is None:
        return
    suggestion = f"my-{_near(name)}" if package[:1].isdigit() else f"{_near(name)}-project"
    raise UsageError(
        f"no package for the project `{name}`: {problem}", hint=f"perdure new {suggestion}"
    )


def _near(name: str) -> str:
    """Return a name like this one that is allowed."""
    near = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
    return near[: _LONGEST - len("-project")].strip("-") or "cats"
