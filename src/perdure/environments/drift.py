"""What somebody installed by hand beyond the lock, and what they took away. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from perdure.environments.compare import Change
from perdure.environments.installed import InstalledConda, InstalledPackage, Inventory
from perdure.environments.wanted import Kind

# What comes with every environment that somebody makes: never a wish of its own.
_SEEDS = frozenset(("pip", "setuptools", "uv", "wheel"))
# Its command line may be installed beside the project, and is no part of it.
_TOOL = "perdure"
_FOREIGN = ("file:", "/")

NamedT = TypeVar("NamedT", InstalledPackage, InstalledConda, Change)


@dataclass(frozen=True, slots=True)
class Before:
    """What there was before anything was installed by hand: names to versions, by installer.

    `manual` are the Debian packages that had been asked for, None where there is no apt.
    """

    pip: Mapping[str, str]
    conda: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    manual: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """What was installed by hand in an environment, which is called `label`.

    `wished` are new Python packages that somebody asked for, `brought` those that came with them,
    `foreign` those that came from a folder and so cannot be declared. `changed` and `missing` are
    packages of the lock in another version, or gone. `apt` and `conda` are new, and asked for.
    """

    label: str
    wished: tuple[InstalledPackage, ...] = ()
    brought: tuple[InstalledPackage, ...] = ()
    foreign: tuple[InstalledPackage, ...] = ()
    changed: tuple[Change, ...] = ()
    missing: tuple[Change, ...] = ()
    apt: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    conda: tuple[InstalledConda, ...] = ()

    @property
    def is_new(self) -> bool:
        """Return whether there is anything to declare."""
        return bool(self.wished or self.apt or self.conda)

    @property
    def none(self) -> bool:
        """Return whether it is as the lock has it."""
        return not (self.is_new or self.foreign or self.changed or self.missing)


def drift_between(
    label: str,
    before: Before,
    now: Inventory,
    itself: Collection[str] = (),
    declared: Mapping[Kind, Collection[str]] = MappingProxyType({}),
) -> Drift:
    """Return what was installed by hand since; `itself` are the names of the project.

    What is `declared` by now is not new: an environment may be older than the declarations.
    """
    passed_over = _SEEDS | frozenset(itself)
    there = {each.name: each for each in now.packages}
    kept = {name: version for name, version in before.pip.items() if name not in passed_over}
    new = {k: v for k, v in there.items() if k not in passed_over and k not in before.pip}
    wished, brought = _new(new, there.get(_TOOL), declared.get(Kind.PIP, ()))
    conda = {*before.conda, *declared.get(Kind.CONDA, ())}
    return Drift(
        label,
        wished=tuple(each for each in wished if not _is_foreign(each)),
        brought=tuple(brought),
        foreign=tuple(each for each in wished if _is_foreign(each)),
        changed=tuple(
            Change("pip", name, version, there[name].version)
            for name, version in sorted(kept.items())
            if name in there and there[name].version != version
        ),
        missing=tuple(
            Change("pip", name, kept[name], "") for name in sorted(kept.keys() - there.keys())
        ),
        apt=_manual(before, now, declared.get(Kind.APT, ())),
        conda=tuple(each for each in now.conda if each.requested and each.name not in conda),
    )


def _manual(before: Before, now: Inventory, declared: Collection[str]) -> Mapping[str, str]:
    """Return the Debian packages that somebody asked for since, where apt was asked both times."""
    if now.manual is None or before.manual is None:
        return MappingProxyType({})
    known = {*before.manual, *declared}
    return MappingProxyType({name: v for name, v in now.manual.items() if name not in known})


def merged(drifts: Sequence[Drift]) -> Drift:
    """Return what several environments have between them; the first of two that differ counts."""
    return Drift(
        " and ".join(each.label for each in drifts),
        wished=_first(each for drift in drifts for each in drift.wished),
        brought=_first(each for drift in drifts for each in drift.brought),
        foreign=_first(each for drift in drifts for each in drift.foreign),
        changed=_first(each for drift in drifts for each in drift.changed),
        # An environment that was never filled says nothing about what is needed.
        missing=_first(each for drift in drifts[:1] for each in drift.missing),
        apt=MappingProxyType({k: v for drift in reversed(drifts) for k, v in drift.apt.items()}),
        conda=_first(each for drift in drifts for each in drift.conda),
    )


def _first(items: Iterable[NamedT]) -> tuple[NamedT, ...]:
    found: dict[str, NamedT] = {}
    for each in items:
        found.setdefault(each.name, each)
    return tuple(found[name] for name in sorted(found))


def _new(
    new: Mapping[str, InstalledPackage], tool: InstalledPackage | None, declared: Collection[str]
) -> tuple[list[InstalledPackage], list[InstalledPackage]]:
    """Return the new packages that were asked for, and those that came along with them."""
    # What the command line of perdure needs is no wish of anybody's for the project.
    needed = _needed_by([tool] if tool else [], new)
    asked = _asked_for({name: each for name, each in new.items() if name not in needed})
    wished = [each for each in asked if each.name not in declared]
    brought = _needed_by(wished, new) - {each.name for each in asked}
    return wished, [new[name] for name in sorted(brought)]


def _is_foreign(package: InstalledPackage) -> bool:
    return package.url.startswith(_FOREIGN) or package.editable


def _asked_for(new: Mapping[str, InstalledPackage]) -> list[InstalledPackage]:
    """Return the new packages that somebody asked for: pip says so, or no other new one needs it.

    Of packages that need each other in a circle, the first by name stands for all.
    """
    needed = {need for each in new.values() for need in each.needs if need != each.name}
    found = [each for name, each in new.items() if each.requested or name not in needed]
    for name, each in sorted(new.items()):
        if name not in _needed_by(found, new) and each not in found:
            found.append(each)
    return sorted(found, key=lambda each: each.name)


def _needed_by(
    packages: Iterable[InstalledPackage], new: Mapping[str, InstalledPackage]
) -> frozenset[str]:
    """Return the new packages that these need, directly or not."""
    todo = [need for each in packages for need in each.needs]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in new and name not in seen:
            seen.add(name)
            todo += new[name].needs
    return frozenset(seen)
