"""Packages added to a project, or removed: in its declarations and in its lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from perdure.environments.declarations import VARIANT, Place
from perdure.environments.familiar import meant, near_misses
from perdure.environments.lock import PROJECT_FILE
from perdure.environments.revision import (
    Revised,
    declared,
    declaring_file,
    places,
    revising,
)
from perdure.environments.wanted import Kind, Wanted, declared_name, key, read_wanted
from perdure.errors import ConflictError, EnvironmentFailed, UsageError
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings


def add(
    project: Project,
    settings: Settings,
    place: Place,
    words: Sequence[str],
    *,
    report: Report = silent,
) -> Revised:
    """Return what declaring the packages at that place came to, the lock being up to date again.

    A Python package without a version is declared with the one that the lock has got as its least.

    Raises:
        UsageError: a word that is no package, or no such place; nothing was changed.
        ConflictError: a package is declared there already; nothing was changed.
        EnvironmentFailed: there is no such package, or it does not go with the others; all files
            are as they were.
    """
    wanted = [read_wanted(place.kind, word) for word in words]
    check_place(project, place)
    with revising(project, settings, report) as revision:
        _refuse_present(project, place, wanted)
        revision.declare(place, wanted)
        with saying_nothing_changed():
            revision.lock()
        if revision.bound(place, wanted):
            revision.lock(again=True)
        return revision.done()


def remove(
    project: Project,
    settings: Settings,
    place: Place,
    words: Sequence[str],
    *,
    report: Report = silent,
) -> Revised:
    """Return what taking the packages out of that place came to. Raises as `add`."""
    wanted = [read_wanted(place.kind, word) for word in words]
    check_place(project, place)
    with revising(project, settings, report) as revision:
        _refuse_absent(project, place, wanted)
        revision.withdraw(place, [each.key for each in wanted])
        with saying_nothing_changed():
            revision.lock()
        return revision.done()


def check_place(project: Project, place: Place) -> None:
    """Return if the project has that place.

    Raises:
        UsageError: it has no such variant, or no environment.yml.
    """
    variant = place.table.removeprefix(VARIANT)
    known = project.environment.variants
    if variant != place.table and variant not in known:
        listed = ", ".join(f"`{each}`" for each in known)
        raise UsageError(
            f"project `{project.name}` has no variant `{variant}`",
            hint=f"its variants: {listed}" if known else "leave out --variant",
        )
    if place.kind is Kind.CONDA and project.environment.conda is None:
        raise UsageError(
            f"project `{project.name}` has no environment.yml",
            hint='`conda = "environment.yml"` below `[tool.perdure.environment]`, and that file',
        )


@contextlib.contextmanager
def saying_nothing_changed() -> Iterator[None]:
    """Say in the error of a lock that cannot be made that the declarations are as they were."""
    try:
        yield
    except EnvironmentFailed as error:
        if type(error) is not EnvironmentFailed:
            raise
        apart = "\n" if "\n" in error.message else "; "
        raise EnvironmentFailed(
            f"{error.message}{apart}nothing was changed", hint=error.hint
        ) from error


def _refuse_present(project: Project, place: Place, wanted: Sequence[Wanted]) -> None:
    present = {declared_name(place.kind, text): text for text in declared(project, place)}
    file = declaring_file(project, place).name
    for each in wanted:
        if place.kind is Kind.PIP and each.key == key(Kind.PIP, project.name):
            raise UsageError(f"`{each.name}` is this project itself", hint="perdure env show")
        if each.key in present:
            raise ConflictError(
                f"`{each.name}` is declared already, as `{present[each.key]}` in `{file}`",
                hint=f"change it there, then `perdure lock`; or `perdure remove{place.words} "
                f"{each.name}` first",
            )
        present[each.key] = each.text


def _refuse_absent(project: Project, place: Place, wanted: Sequence[Wanted]) -> None:
    names = declared_names(project, place)
    for each in wanted:
        if each.key in names:
            continue
        others = [other for other in places(project) if other != place]
        elsewhere = [other for other in others if each.key in declared_names(project, other)]
        commands = " or ".join(f"`perdure remove{o.words} {each.name}`" for o in elsewhere)
        near = [name for name in near_misses(each.name, names) if name in names]
        file = declaring_file(project, place)
        where = str(place) if file.name == PROJECT_FILE else f"`{file.name}`"
        raise UsageError(
            f"`{each.name}` is not declared in {where}",
            hint=commands or meant(near, "perdure env show"),
        )


def declared_names(project: Project, place: Place) -> frozenset[str]:
    """Return the names that are declared at a place, as they are compared."""
    names = (declared_name(place.kind, text) for text in declared(project, place))
    return frozenset(name for name in names if name)
