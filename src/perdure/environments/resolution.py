"""What uv.lock resolved: each package with its files, and which packages need which.

uv's documentation has no reference of the format; what is read here has been so since version 1.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.environments.manifest import normalised
from perdure.errors import EnvironmentFailed
from perdure.model.image import Requirement

Table = Mapping[str, object]

_ITSELF = ("virtual", "editable", "directory")


@dataclass(frozen=True, slots=True)
class Resolution:
    """The packages of a uv.lock, and the largest known size of a wheel of each, in bytes."""

    packages: tuple[Table, ...]
    root: Path

    @classmethod
    def of(cls, text: str, root: Path) -> Resolution:
        """Return the resolution that the text of a uv.lock in the folder `root` holds.

        Raises:
            EnvironmentFailed: it is no lock.
        """
        try:
            found = tomllib.loads(text).get("package")
        except tomllib.TOMLDecodeError as error:
            raise EnvironmentFailed(
                f"`uv.lock` is not valid TOML: {error}",
                hint="git checkout uv.lock, or delete it; then perdure lock",
            ) from error
        return cls(tuple(_tables(found)), root)

    def installed(self, variants: Iterable[str]) -> tuple[Requirement, ...]:
        """Return what the project needs in its variants taken together, without its groups.

        Names, versions and files of this machine only; no markers: what any platform needs.
        """
        reached = self._reach(variants)
        return tuple(
            Requirement(str(each["name"]), str(each.get("version", "")), (), file=self._file(each))
            for each in self.packages
            if each.get("name") in reached
        )

    def sizes(self) -> dict[str, int]:
        """Return the largest wheel's size of each package that one is known of. Touches disk."""
        found: dict[str, int] = {}
        for each in self.packages:
            sizes = [self._size(each, wheel) for wheel in _tables(each.get("wheels"))]
            if any(sizes):
                name = str(each["name"])
                found[name] = max(*sizes, found.get(name, 0), 0)
        return found

    def _reach(self, variants: Iterable[str]) -> frozenset[str]:
        """Return the names of all that the project needs, by whatever way."""
        by_name: dict[str, list[Table]] = {}
        for each in self.packages:
            by_name.setdefault(str(each.get("name")), []).append(each)
        todo = [
            edge
            for each in self.packages
            if _is_itself(each)
            for edge in _edges(each, frozenset(normalised(variant) for variant in variants))
        ]
        seen: set[tuple[str, str]] = set()
        while todo:
            name, extra = todo.pop()
            if (name, extra) not in seen:
                seen.add((name, extra))
                wanted = frozenset((extra,)) if extra else frozenset[str]()
                todo += [edge for each in by_name.get(name, []) for edge in _edges(each, wanted)]
        return frozenset(name for name, _ in seen)

    def _file(self, package: Table) -> Path | None:
        source = _table(package.get("source"))
        path = source.get("path")
        if isinstance(path, str):
            return Path(self.root, path)
        wheels = [self._wheel_file(package, each) for each in _tables(package.get("wheels"))]
        return next((file for file in wheels if file is not None), None)

    def _wheel_file(self, package: Table, wheel: Table) -> Path | None:
        path = wheel.get("path")
        if not isinstance(path, str):
            return None
        # Relative to the folder that the index is, which is relative to the project.
        return Path(self.root, str(_table(package.get("source")).get("registry", "")), path)

    def _size(self, package: Table, wheel: Table) -> int:
        size = wheel.get("size")
        if isinstance(size, int):
            return size
        file = self._file(package) if "filename" in wheel else self._wheel_file(package, wheel)
        try:
            return file.stat().st_size if file is not None else 0
        except OSError:
            # Locked on another machine; the name has to do.
            return 0


def _is_itself(package: Table) -> bool:
    source = _table(package.get("source"))
    return any(source.get(kind) == "." for kind in _ITSELF)


def _edges(package: Table, extras: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield what a package needs with these extras: names, each with an extra of its own or ""."""
    optional = _table(package.get("optional-dependencies"))
    groups = [package.get("dependencies"), *(optional.get(extra) for extra in sorted(extras))]
    for edge in (each for group in groups for each in _tables(group)):
        name = str(edge.get("name"))
        yield name, ""
        listed = edge.get("extra")
        yield from ((name, str(each)) for each in (listed if isinstance(listed, list) else ()))


def _table(value: object) -> Table:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> list[Table]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
