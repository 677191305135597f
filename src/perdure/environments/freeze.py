"""What was installed by hand, written into the declarations and the lock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from perdure.environments.compare import Change
from perdure.environments.declarations import Place
from perdure.environments.drift import Drift
from perdure.environments.edit import check_place, declared_names, saying_nothing_changed
from perdure.environments.installed import InstalledPackage
from perdure.environments.revision import Revised, Revision, declared, places, revising
from perdure.environments.wanted import Kind, Wanted, declared_name, read_wanted
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

# A requirement of one clause at most: another version can take the place of the one in it.
_SIMPLE = re.compile(
    r"(?P<name>[^=<>!~;@ ]+)\s*(?P<clause>(?P<operator>==|>=)\s*[^\s,;*]+)?(?P<marker>\s*;.*)?"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a drift is written down: into which place of pip and stage of apt, and what more.

    `changed`: versions that were changed, too. `missing`: what is gone is declared no more.
    """

    place: Place
    stage: str = "runtime"
    changed: bool = False
    missing: bool = False


def freeze(
    project: Project,
    settings: Settings,
    drift: Drift,
    choice: Choice,
    *,
    report: Report = silent,
) -> Revised:
    """Return what writing the drift down came to; the lock has the versions that are installed.

    They are locked as they are first, what came along included, and declared as the least ones
    then: uv keeps what it has locked.

    Raises:
        EnvironmentFailed: what is installed does not go together; all files are as they were.
    """
    if drift.conda:
        check_place(project, Place(Kind.CONDA))
    with revising(project, settings, report) as revision:
        _declare_systems(revision, project, drift, choice)
        with saying_nothing_changed():
            if choice.missing:
                _withdraw_missing(revision, drift)
            pinned = _pin(revision, drift, choice)
            revision.lock()
            if _relax(revision, pinned, choice):
                revision.lock(again=True)
        return revision.done()


def wanted_of(package: InstalledPackage, *, exact: bool) -> Wanted:
    """Return how an installed package is asked for: as it is, or as the least version."""
    if package.commit:
        return read_wanted(Kind.PIP, f"{package.name} @ git+{package.url}@{package.commit}")
    if package.url:
        return read_wanted(Kind.PIP, f"{package.name} @ {package.url}")
    operator = "==" if exact else ">="
    version = package.version if exact else package.version.partition("+")[0]
    return Wanted(Kind.PIP, package.name, f"{package.name}{operator}{version}", open=False)


def _declare_systems(revision: Revision, project: Project, drift: Drift, choice: Choice) -> None:
    """Declare the packages of apt and conda that are declared in no place yet."""
    apt = frozenset[str]().union(
        *(declared_names(project, place) for place in places(project) if place.kind is Kind.APT)
    )
    new = [read_wanted(Kind.APT, name) for name in sorted(drift.apt) if name not in apt]
    if new:
        revision.declare(Place(Kind.APT, choice.stage), new)
    if drift.conda:
        known = declared_names(project, Place(Kind.CONDA))
        specs = [read_wanted(Kind.CONDA, each.requested) for each in drift.conda]
        revision.declare(Place(Kind.CONDA), [each for each in specs if each.key not in known])


@dataclass(frozen=True, slots=True)
class _Pinned:
    """What is declared exactly for a while: texts to have in the end, and what to withdraw."""

    texts: Mapping[Place, Mapping[str, str]]
    passing: tuple[str, ...]


def _pin(revision: Revision, drift: Drift, choice: Choice) -> _Pinned:
    """Declare the exact versions of all that is new, and of what was changed if that is wanted."""
    there = declared_names(revision.project, choice.place)
    wished = [each for each in drift.wished if each.name not in there]
    texts = {choice.place: {each.name: wanted_of(each, exact=False).text for each in wished}}
    passing = [each for each in drift.brought if each.name not in there]
    new = [wanted_of(each, exact=True) for each in (*wished, *passing)]
    names = [each.name for each in passing]
    for change in drift.changed if choice.changed else ():
        if not _pin_changed(revision, change, texts):
            text = f"{change.name}=={change.after}"
            new.append(Wanted(Kind.PIP, change.name, text, open=False))
            names.append(change.name)
    revision.declare(choice.place, new)
    return _Pinned(texts, tuple(names))


def _pin_changed(revision: Revision, change: Change, texts: dict[Place, dict[str, str]]) -> bool:
    """Pin a package where it is declared, and note what to declare then; False: it is nowhere."""
    found = False
    for place in places(revision.project):
        text = _texts(revision.project, place).get(change.name) if place.kind is Kind.PIP else None
        simple = _SIMPLE.fullmatch(text or "")
        if text is None:
            continue
        found = True
        if simple is None:
            # Several clauses are somebody's decision: uv says so if the version is against it.
            continue
        marker = simple["marker"] or ""
        revision.redeclare(place, {change.name: f"{simple['name']}=={change.after}{marker}"})
        version = change.after.partition("+")[0]
        clause = f"{simple['operator']}{version}" if simple["operator"] else ""
        texts.setdefault(place, {})[change.name] = f"{simple['name']}{clause}{marker}"
    return found


def _withdraw_missing(revision: Revision, drift: Drift) -> None:
    """Declare no more what is gone."""
    gone = {each.name for each in drift.missing}
    for place in places(revision.project):
        if place.kind is Kind.PIP and declared_names(revision.project, place) & gone:
            revision.withdraw(place, sorted(gone))


def _relax(revision: Revision, pinned: _Pinned, choice: Choice) -> bool:
    """Declare the least versions instead, and no more what nobody asked for."""
    for place, texts in pinned.texts.items():
        if texts:
            revision.redeclare(place, texts)
    if pinned.passing:
        revision.withdraw(choice.place, pinned.passing)
    return bool(pinned.passing or any(pinned.texts.values()))


def _texts(project: Project, place: Place) -> Mapping[str, str]:
    named = ((declared_name(place.kind, text), text) for text in declared(project, place))
    return {name: text for name, text in named if name}
