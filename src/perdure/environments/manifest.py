"""A pyproject.toml as uv sees it: what a lock depends on, and a copy of it with other indexes."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.model.settings import Index, IndexFormat

Table = Mapping[str, object]

# Of [project], what does not change what is to be installed.
_TEXTS = frozenset(
    (
        *("authors", "classifiers", "description", "entry-points", "gui-scripts", "keywords"),
        *("license", "license-files", "maintainers", "readme", "scripts", "urls"),
    )
)
_NAME = re.compile(r"\s*([A-Za-z0-9._-]+)")
_PIN = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*==\s*([^\s,;*]+)\s*(?:;|$)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed pyproject.toml, and the parts of it that a lock depends on."""

    document: Table
    tables: Table

    @classmethod
    def of(cls, document: Table) -> Manifest:
        """Return the manifest of a parsed pyproject.toml."""
        project = {k: v for k, v in _table(document, "project").items() if k not in _TEXTS}
        return cls(
            document,
            {
                "build-system": _table(document, "build-system"),
                "project": project,
                "dependency-groups": _table(document, "dependency-groups"),
                "tool": {"uv": _table(_table(document, "tool"), "uv")},
            },
        )

    @property
    def uv(self) -> Table:
        """Return `[tool.uv]`."""
        return _table(_table(self.tables, "tool"), "uv")

    @property
    def requires_python(self) -> str:
        """Return which Pythons the project is for, as it is written there."""
        found = _table(self.tables, "project").get("requires-python")
        return found if isinstance(found, str) else ""

    @property
    def groups(self) -> frozenset[str]:
        """Return the names of the dependency groups, normalised."""
        return frozenset(normalised(name) for name in _table(self.tables, "dependency-groups"))

    def indexes(self) -> dict[str, str]:
        """Return the URLs of the indexes that the project names."""
        return {
            str(each["name"]): str(each.get("url", ""))
            for each in _tables(self.uv.get("index"))
            if "name" in each
        }

    def packages_from(self, index: str) -> frozenset[str]:
        """Return the packages that the project takes from one of its indexes, normalised."""
        return frozenset(
            normalised(name)
            for name, sources in _table(self.uv, "sources").items()
            for source in _tables(sources)
            if source.get("index") == index
        )

    def pins(self, package: str) -> frozenset[str]:
        """Return the versions that requirements ask for with `==`."""
        found = (_PIN.match(text) for text in self._requirements())
        return frozenset(pin[2] for pin in found if pin and normalised(pin[1]) == package)

    def direct(self, variant: str | None) -> frozenset[str]:
        """Return the packages that the project asks for itself, those of a variant with them."""
        project = _table(self.tables, "project")
        extra = _table(project, "optional-dependencies").get(variant or "")
        names = (
            _NAME.match(text)
            for group in (project.get("dependencies"), extra)
            for text in (group if isinstance(group, list) else ())
            if isinstance(text, str)
        )
        return frozenset(normalised(name[1]) for name in names if name)

    def places(self, package: str) -> list[str]:
        """Return the keys below which a package is asked for, its name normalised."""
        project = _table(self.tables, "project")
        extras = _table(project, "optional-dependencies")
        groups = _table(self.tables, "dependency-groups")
        lists = {
            "project.dependencies": project.get("dependencies"),
            **{f"project.optional-dependencies.{each}": extras[each] for each in extras},
            **{f"dependency-groups.{each}": groups[each] for each in groups},
        }
        return [
            place
            for place, texts in lists.items()
            for text in (texts if isinstance(texts, list) else ())
            if isinstance(text, str) and (name := _NAME.match(text))
            if normalised(name[1]) == package
        ]

    def path_files(self, root: Path) -> Iterator[Path]:
        """Return the files, wheels mostly, that sources name by their path."""
        for sources in _table(self.uv, "sources").values():
            for source in _tables(sources):
                path = source.get("path")
                if isinstance(path, str) and (root / path).is_file():
                    yield root / path

    def digest(self, root: Path, indexes: Iterable[Index]) -> str:
        """Return a digest of all that a lock depends on and that lies in this project."""
        files = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.path_files(root)]
        replaced = sorted([each.name, each.url, each.format.value] for each in indexes)
        text = json.dumps([self.tables, files, replaced], sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def staged(self, replacements: Mapping[str, Index], up: str) -> str:
        """Return the text of the same pyproject.toml with the replacements as indexes.

        `up` leads from where it will lie to the project, for paths that leave the project.
        """
        uv = {**self.uv, "index": [_replaced(each, replacements) for each in self._indexes()]}
        if "sources" in uv:
            uv["sources"] = {
                name: [_moved(each, up) for each in _tables(sources)]
                for name, sources in _table(self.uv, "sources").items()
            }
        tables = {**self.document, "tool": {**_table(self.document, "tool"), "uv": uv}}
        return "".join(f"{_key(name)} = {_value(each)}\n" for name, each in tables.items() if each)

    def _indexes(self) -> list[Table]:
        return _tables(self.uv.get("index"))

    def _requirements(self) -> Iterator[str]:
        project = _table(self.tables, "project")
        groups = [project.get("dependencies"), *_table(project, "optional-dependencies").values()]
        for group in [*groups, *_table(self.tables, "dependency-groups").values()]:
            if isinstance(group, list):
                yield from (each for each in group if isinstance(each, str))


def normalised(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(tables: Table, name: str) -> Table:
    found = tables.get(name)
    return found if isinstance(found, dict) else {}


def _tables(value: object) -> list[Table]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict)]


def _replaced(index: Table, replacements: Mapping[str, Index]) -> Table:
    replacement = replacements.get(str(index.get("name")))
    if replacement is None:
        return index
    kept = {key: value for key, value in index.items() if key != "format"}
    flat = {"format": "flat"} if replacement.format is IndexFormat.FLAT else {}
    return {**kept, "url": replacement.url, **flat}


def _moved(source: Table, up: str) -> Table:
    path = source.get("path")
    if isinstance(path, str) and path.split("/")[0] == "..":
        return {**source, "path": up + path}
    return source


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    """Return a value as TOML has it on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, str):
        return _key(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return repr(value)
