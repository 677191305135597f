"""`[tool.perdure.environment]`: from its table to an Environment, or to what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
from msgspec import UNSET, UnsetType

from perdure.model import debian
from perdure.model.project import BASE, Environment, Step
from perdure.project import tables
from perdure.project.validate import Problem, did_you_mean

# A name as the engines take it (distribution/reference): a registry's host in front may have a
# port, a tag or a digest may follow. Never a word that a client would read as an option.
# Only a registry's host and a tag may have capitals.
_REFERENCE = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?[a-z0-9][a-z0-9._/-]*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?(?:@sha256:[0-9a-f]{64})?"
)


def environment_problems(
    table: tables.EnvironmentTable, at: str, extras: frozenset[str], root: Path
) -> list[Problem]:
    """Return what is wrong with the table: against the project's extras, and the files it names.

    Reads those files.
    """
    found = [Problem(f"{at}.{key}", text) for key, text in _variant_problems(table, extras)]
    for stage, declared in _declared(table.apt).items():
        found += [Problem(f"{at}.apt.{stage}", text) for text in _apt_problems(declared, root)]
    if not isinstance(table.conda, UnsetType):
        found += [Problem(f"{at}.conda", text) for text in _file_problems(table.conda, root)]
    if not isinstance(table.base, UnsetType) and not _REFERENCE.fullmatch(table.base):
        found.append(Problem(f"{at}.base", f"`{table.base}` cannot be the name of an image"))
    for number, step in enumerate(table.steps):
        if not step.run.strip() or any(letter in step.run for letter in "\n\r\0"):
            problem = "is one line for a shell; put more into more steps"
            found.append(Problem(f"{at}.steps[{number}].run", problem))
    return found


def environment_of(table: tables.EnvironmentTable | UnsetType, root: Path) -> Environment:
    """Return the environment that a table without problems describes."""
    if isinstance(table, UnsetType):
        return Environment()
    first = table.variants[0] if table.variants else None
    unset = UnsetType
    return Environment(
        variants=tuple(table.variants),
        default_variant=first
        if isinstance(table.default_variant, unset)
        else table.default_variant,
        python=None if isinstance(table.python, unset) else table.python,
        apt=MappingProxyType(
            {
                stage: root / declared if isinstance(declared, str) else tuple(declared)
                for stage, declared in _declared(table.apt).items()
            }
        ),
        conda=None if isinstance(table.conda, unset) else root / table.conda,
        base=BASE if isinstance(table.base, unset) else table.base,
        steps=tuple(Step(step.run, step.stage) for step in table.steps),
    )


def _declared(table: tables.AptTable | UnsetType) -> Mapping[str, str | list[str]]:
    """Return the stages that packages are declared for, with the file or the names."""
    if isinstance(table, UnsetType):
        return {}
    stages = msgspec.structs.asdict(table)
    return {stage: declared for stage, declared in stages.items() if declared is not UNSET}


def _variant_problems(
    table: tables.EnvironmentTable, extras: frozenset[str]
) -> Iterator[tuple[str, str]]:
    for each in table.variants:
        if each not in extras:
            near = did_you_mean(each, extras)
            yield "variants", f"`{each}` is not an extra of the project" + near
    chosen = table.default_variant
    if not isinstance(chosen, UnsetType) and chosen not in table.variants:
        near = did_you_mean(chosen, table.variants)
        yield "default_variant", f"`{chosen}` is not a variant" + near


def _apt_problems(declared: str | list[str], root: Path) -> Iterator[str]:
    if isinstance(declared, list):
        yield from (problem for each in declared if (problem := debian.package_problem(each)))
        return
    problems = list(_file_problems(declared, root))
    yield from problems
    if not problems:
        text = (root / declared).read_bytes().decode("utf-8", "replace")
        for each in debian.listed(text):
            problem = debian.package_problem(each)
            if problem:
                yield f"in `{declared}`: {problem}"


def _file_problems(name: str, root: Path) -> Iterator[str]:
    """Return that the file cannot be read, with one that may be meant."""
    try:
        with (root / name).open("rb"):
            return
    except FileNotFoundError:
        folder = (root / name).parent
        files = [each.name for each in folder.iterdir()] if folder.is_dir() else []
        near = did_you_mean(Path(name).name, files) if files else ""
        yield f"there is no file `{name}`" + (near if "mean" in near else "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield f"cannot read `{name}`: {reason.lower()}"
