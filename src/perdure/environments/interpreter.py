"""Which Python an image gets, and from where. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from perdure.errors import EnvironmentFailed
from perdure.model.image import PythonSource

_VERSION = re.compile(r"\d+(?:\.\d+)*")
_CLAUSE = re.compile(r"(?P<operator>~=|===?|!=|<=|>=|<|>)\s*(?P<version>\d[\w.*+!-]*)")


def choose_python(
    declared: str | None,
    requires: str,
    *,
    base: str | None,
    debian: str | None,
    others: Iterable[str] = (),
) -> tuple[PythonSource, str] | None:
    """Return where Python comes from and its version: the base, else Debian, else uv.

    `declared` is such as `3.11` or `3.11.4`, `requires` a project's requires-python. `others` are
    the versions that uv has, the best ones first. None where none of them fits.
    """
    candidates = [(PythonSource.BASE, base), (PythonSource.APT, debian)]
    candidates += [(PythonSource.UV, each) for each in others]
    for source, version in candidates:
        if version and satisfies(version, declared, requires):
            return source, version
    return None


def satisfies(version: str, declared: str | None, requires: str) -> bool:
    """Return whether a version is the declared one, and one that the project is for."""
    if declared is not None and not f"{version}.".startswith(f"{declared}."):
        return False
    return all(_allows(each["operator"], each["version"], version) for each in _clauses(requires))


def minor_of(version: str) -> int | None:
    """Return the 11 of `3.11` or `3.11.2`, None where it has none."""
    parts = version.split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else None


def exact_minor(declared: str | None, requires: str) -> int | None:
    """Return the one minor version that is asked for, None where several would do."""
    if declared:
        return minor_of(declared)
    fitting = [minor for minor in range(100) if satisfies(f"3.{minor}.99", None, requires)]
    return fitting[0] if len(fitting) == 1 else None


def unfit(declared: str | None, requires: str) -> EnvironmentFailed:
    """Return the error that no Python fits."""
    asked = f'`python = "{declared}"`' if declared else "`requires-python`"
    also = f' and `requires-python = "{requires}"`' if declared and requires else ""
    return EnvironmentFailed(
        f"no Python fits {asked}{also}: not the base image's, not Debian's, none that uv has",
        hint="uv python list --all-versions",
    )


def _clauses(requires: str) -> Iterable[re.Match[str]]:
    return filter(None, (_CLAUSE.fullmatch(each.strip()) for each in requires.split(",")))


def _allows(operator: str, wanted: str, version: str) -> bool:
    """Return whether PEP 440 allows the version, releases only."""
    starred = wanted.endswith(".*")
    asked, has = _numbers(wanted.removesuffix(".*")), _numbers(version)
    length = len(asked) if starred else max(len(asked), len(has))
    left, right = _padded(has, length)[:length], _padded(asked, length)
    if operator == "~=":
        return has >= asked and has[: len(asked) - 1] == asked[:-1]
    return {
        "==": left == right,
        "===": left == right,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }[operator]


def _numbers(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _padded(numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    return numbers + (0,) * (length - len(numbers))
