"""What somebody installed by hand beyond the lock, and what they took away. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from perdure.environments.compare import Change
from perdure.environments.installed import InstalledConda, InstalledPackage, Inventory

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


def drift_between(label: str, before: Before, now: Inventory, itself: Collection[str]) -> Drift:
    """Return what was installed by hand since; `itself` are the names of the project."""
    passed_over = _SEEDS | frozenset(itself)
    by_name = {each.name: each for each in now.packages}
    new = {
        name: each
        for name, each in by_name.items()
        if name not in before.pip and name not in passed_over
    }
    tools = _needed_by([by_name[_TOOL]] if _TOOL in by_name else [], new)
    # What the tool's command line needs is passed over, unless somebody asked pip for it.
    wished = _asked_for({name: each for name, each in new.items() if name not in tools})
    foreign = [each for each in wished if each.url.startswith(_FOREIGN) or each.editable]
    kept = [each for each in wished if each not in foreign]
    brought = _needed_by([*kept, *foreign], new) - {each.name for each in wished}
    conda = {each.name for each in now.conda} - before.conda.keys()
    manual = now.manual if now.manual is not None and before.manual is not None else {}
    known = before.manual or {}
    return Drift(
        label,
        wished=tuple(kept),
        brought=tuple(new[name] for name in sorted(brought)),
        foreign=tuple(foreign),
        changed=tuple(
            Change("pip", name, before.pip[name], each.version)
            for name, each in by_name.items()
            if name not in passed_over and before.pip.get(name, each.version) != each.version
        ),
        missing=tuple(
            Change("pip", name, version, "")
            for name, version in sorted(before.pip.items())
            if name not in by_name and name not in passed_over
        ),
        apt=MappingProxyType({name: manual[name] for name in manual if name not in known}),
        conda=tuple(each for each in now.conda if each.name in conda and each.requested),
    )


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
