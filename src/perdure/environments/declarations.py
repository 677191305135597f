"""The packages that pyproject.toml declares, changed in its text: comments and order are kept.

Pure: text in, text out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import cast

from perdure.environments.wanted import Kind, Wanted, declared_name
from perdure.errors import PerdureError, UsageError

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where packages are declared.

    `table`: for pip "" (all need it), `dev`, or the name of a variant behind `variant:`; for apt
    the stage.
    """

    kind: Kind
    table: str = ""

    @property
    def keys(self) -> Keys:
        """Return the keys that lead to the list in pyproject.toml."""
        if self.kind is Kind.APT:
            return ("tool", "perdure", "environment", "apt", self.table)
        if self.table.startswith(VARIANT):
            return ("project", "optional-dependencies", self.table.removeprefix(VARIANT))
        return ("dependency-groups", self.table) if self.table else ("project", "dependencies")

    @property
    def words(self) -> str:
        """Return how `perdure add` and `remove` are told of this place."""
        if self.kind is Kind.APT:
            return f" --apt {self.table}"
        if self.kind is Kind.CONDA:
            return " --conda"
        if self.table.startswith(VARIANT):
            return f" --variant {self.table.removeprefix(VARIANT)}"
        return f" --{self.table}" if self.table else ""

    def __str__(self) -> str:
        """Return the place as messages name it."""
        return f"`{'.'.join(self.keys)}`"


VARIANT = "variant:"


def listed(text: str, place: Place) -> tuple[str, ...]:
    """Return the declarations at a place of pyproject.toml, in order.

    Raises:
        UsageError: what stands there is no list.
    """
    found: object = tomllib.loads(text)
    for name in place.keys:
        found = found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        return ()
    if not isinstance(found, list):
        raise UsageError(f"{place} in pyproject.toml is no list")
    return tuple(each for each in found if isinstance(each, str))


def with_added(text: str, place: Place, packages: Sequence[Wanted]) -> str:
    """Return the text with the packages declared: in order where the list is, else at its end."""
    import tomlkit

    document = tomlkit.parse(text)
    entries = _entries(document, place)
    for each in packages:
        strings = [entry for entry in entries if isinstance(entry, str)]
        at = position([declared_name(place.kind, entry) or "" for entry in strings], each.key)
        # A table, such as `{ include-group = ... }`, counts where it stands.
        entries.insert(entries.index(strings[at]) if at < len(strings) else len(entries), each.text)
        if each.source:
            sources = _descend(document, ("tool", "uv", "sources"))
            sources[each.name] = tomlkit.item(dict(each.source), _parent=None, _sort_keys=False)
    _tidy(document, place)
    return _checked(document.as_string())


def with_replaced(text: str, place: Place, changes: Mapping[str, str]) -> str:
    """Return the text with other declarations for some packages, by the names as compared."""
    import tomlkit

    document = tomlkit.parse(text)
    entries = _entries(document, place)
    for index, entry in enumerate(list(entries)):
        name = declared_name(place.kind, entry) if isinstance(entry, str) else None
        if name is not None and name in changes:
            entries[index] = changes[name]
    return _checked(document.as_string())


def with_removed(text: str, place: Place, names: Sequence[str]) -> str:
    """Return the text without the packages of those names, as compared, at that place.

    The source of a package that is declared nowhere any more goes with it.
    """
    import tomlkit

    document = tomlkit.parse(text)
    entries = _entries(document, place)
    for index in reversed(range(len(entries))):
        entry = entries[index]
        if isinstance(entry, str) and declared_name(place.kind, entry) in names:
            del entries[index]
    _tidy(document, place)
    if place.kind is Kind.PIP:
        _drop_sources(document, names)
    return _checked(document.as_string())


def position(names: Sequence[str], name: str) -> int:
    """Return where a name belongs among others: in order if they are in order, else at the end."""
    if list(names) != sorted(names):
        return len(names)
    return sum(each <= name for each in names)


def _entries(document: MutableMapping[str, object], place: Place) -> list[object]:
    *tables, last = place.keys
    table = _descend(document, tables)
    if last not in table:
        table[last] = []
    entries = table[last]
    if not isinstance(entries, list):
        raise UsageError(f"{place} in pyproject.toml is no list")
    return entries


def _descend(
    document: MutableMapping[str, object], keys: Sequence[str]
) -> MutableMapping[str, object]:
    import tomlkit

    table = document
    for depth, key in enumerate(keys):
        if key not in table:
            table[key] = tomlkit.table(is_super_table=depth + 1 < len(keys))
        inner = table[key]
        if not isinstance(inner, MutableMapping):
            raise UsageError(f"`{'.'.join(keys[: depth + 1])}` in pyproject.toml is no table")
        table = cast("MutableMapping[str, object]", inner)
    return table


def _tidy(document: MutableMapping[str, object], place: Place) -> None:
    """Write a list that stood on one line as one line again: no comment can be in it."""
    import tomlkit

    *tables, last = place.keys
    table = _descend(document, tables)
    entries = table[last]
    text = entries.as_string() if hasattr(entries, "as_string") else ""
    if isinstance(entries, list) and "\n" not in text:
        plain = [getattr(entry, "unwrap", lambda entry=entry: entry)() for entry in entries]
        table[last] = tomlkit.item(plain)


def _drop_sources(document: MutableMapping[str, object], names: Sequence[str]) -> None:
    tool = document.get("tool")
    uv = tool.get("uv") if isinstance(tool, Mapping) else None
    sources = uv.get("sources") if isinstance(uv, Mapping) else None
    if not isinstance(sources, MutableMapping):
        return
    needed = _declared_anywhere(document)
    for name in list(sources):
        found = declared_name(Kind.PIP, str(name))
        if found in names and found not in needed:
            del sources[name]
    if not sources and isinstance(uv, MutableMapping):
        del uv["sources"]


def _declared_anywhere(document: Mapping[str, object]) -> frozenset[str | None]:
    project = document.get("project")
    groups: list[object] = []
    if isinstance(project, Mapping):
        groups.append(project.get("dependencies"))
        extras = project.get("optional-dependencies")
        groups += extras.values() if isinstance(extras, Mapping) else []
    own = document.get("dependency-groups")
    groups += own.values() if isinstance(own, Mapping) else []
    return frozenset(
        declared_name(Kind.PIP, entry)
        for group in groups
        if isinstance(group, list)
        for entry in group
        if isinstance(entry, str)
    )


def _checked(text: str) -> str:
    """Return the text if it can still be read: what is written here is the user's own file."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PerdureError(
            f"this change would break pyproject.toml: {error}", hint="change it by hand"
        ) from error
    return text
