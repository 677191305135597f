"""A pyproject.toml with perdure's tables in it: text in, text out, comments and order kept."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from perdure.errors import UsageError
from perdure.project.imported import Imported, name_of
from perdure.project.record import toml
from perdure.project.survey import Layout
from perdure.project.tables import FORMAT

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Array, Table

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_OLD_PYTHON = re.compile(r">=?\s*(2|3\.[0-8])(?!\d)")


@dataclass(frozen=True, slots=True)
class Facts:
    """What goes into the tables; `wheel` is the file name of the perdure that comes along."""

    name: str
    layout: Layout
    tasks: Mapping[str, tuple[str, ...]]
    imported: Imported
    wheel: str | None
    python: str

    @property
    def requirement(self) -> str:
        """Return the requirement that is perdure itself."""
        from perdure import __version__

        return "perdure" if self.wheel else f"perdure=={__version__}"

    def imports(self, document: Mapping[str, object]) -> bool:
        """Return whether dependencies are taken from other files: pyproject.toml has none."""
        project = _table(document, "project")
        own = "dependencies" in project or "dependencies" in _list(project, "dynamic")
        return not own and bool(self.imported.files)


def name_for(document: Mapping[str, object], imported: Imported, folder: str) -> str:
    """Return the project's name: its own, else one like what the other files or the folder say."""
    own = _table(document, "project").get("name")
    if isinstance(own, str) and own:
        return own
    like = re.sub(r"[^A-Za-z0-9._-]+", "-", imported.name or folder).strip("-._")
    return like or "project"


def declare(text: str | None, document: Mapping[str, object], facts: Facts) -> str:
    """Return pyproject.toml with the tables that make a project of it.

    Raises:
        UsageError: its dependencies are declared where uv does not read them.
    """
    import tomlkit

    _refuse_poetry(document)
    tree = tomlkit.parse(text or "")
    if "project" not in tree:
        tree["project"] = tomlkit.table()
    project = cast("Table", tree["project"])
    _describe(project, facts)
    if "dependencies" not in _list(project, "dynamic"):
        _require(project, facts, facts.imports(document))
    if facts.wheel and "perdure" not in _sources(document):
        _bring(tree, facts.wheel)
    written = tomlkit.dumps(tree).rstrip("\n") + "\n\n" + _tables(facts)
    # Written by hand so far: where the file has another way to end a line, so has all of it.
    return re.sub(r"\r?\n", "\r\n", written) if text and "\r\n" in text else written


def notes(document: Mapping[str, object], facts: Facts) -> tuple[str, ...]:
    """Return what a person has to see to."""
    project = _table(document, "project")
    found = list(facts.imported.notes) if facts.imports(document) or not project else []
    if not facts.layout.folder:
        found.append(f"there is no package: `{facts.layout.package}` is one for src/, for later")
    elif not facts.layout.folder.startswith("src/"):
        found.append(f"`{facts.layout.folder}` is imported from the project's own folder")
    if "dependencies" in _list(project, "dynamic"):
        found.append(f"the dependencies are dynamic: add `{facts.requirement}` where they are made")
    wanted = project.get("requires-python")
    if isinstance(wanted, str) and _OLD_PYTHON.search(wanted):
        found.append(f"requires-python is `{wanted}`, and perdure runs from 3.9: raise it")
    if facts.imported.conda:
        found.append(f"`{facts.imported.conda}` stays: its packages come from conda channels")
    if not facts.tasks:
        found.append("no program was found: name one below `[tool.perdure.tasks]`")
    return tuple(found)


def _describe(project: Table, facts: Facts) -> None:
    """Add what `[project]` has to have, where it lacks it."""
    wanted = {"name": facts.name, "version": facts.imported.version or "0.1.0"}
    if facts.imported.description:
        wanted["description"] = " ".join(facts.imported.description.split())
    # One Python, so that everyone's lock and results are the same.
    wanted["requires-python"] = f"=={facts.imported.python or facts.python}.*"
    dynamic = _list(project, "dynamic")
    for key, value in wanted.items():
        if key not in project and key not in dynamic:
            project[key] = value


def _require(project: Table, facts: Facts, imports: bool) -> None:
    """Add the dependencies that are missing, one a line where the list is written so."""
    import tomlkit

    if "dependencies" not in project:
        fresh = tomlkit.array()
        fresh.multiline(True)
        project["dependencies"] = fresh
    listed = cast("Array", project["dependencies"])
    if not isinstance(listed, list):
        raise UsageError("`project.dependencies` in pyproject.toml is no list")
    present = {name_of(str(each)) for each in listed}
    wanted = [*(facts.imported.dependencies if imports else ()), facts.requirement]
    for each in wanted:
        if name_of(each) not in present:
            listed.append(each)
            present.add(name_of(each))


def _bring(tree: TOMLDocument, wheel: str) -> None:
    """Say that perdure comes from the project's own folder: no index has it."""
    import tomlkit
    from tomlkit.items import InlineTable

    place = tomlkit.inline_table()
    place["path"] = f"vendor/{wheel}"
    inner: Table = cast("Table", tree)
    for key in ("tool", "uv", "sources"):
        if key not in inner:
            # What was begun on one line goes on so.
            begun = isinstance(inner, InlineTable)
            fresh = tomlkit.table(is_super_table=key != "sources")
            inner[key] = tomlkit.inline_table() if begun else fresh
        inner = cast("Table", inner[key])
    inner["perdure"] = place


def _tables(facts: Facts) -> str:
    """Return `[tool.perdure]` as text."""
    lines = ["[tool.perdure]", f"format = {FORMAT}", f"package = {toml(facts.layout.package)}"]
    lines += ["", "[tool.perdure.tasks]"]
    for name, words in facts.tasks.items():
        key = name if _BARE_KEY.fullmatch(name) else toml(name)
        lines.append(f"{key} = {toml(shlex.join(words))}")
    if facts.imported.conda:
        lines += ["", "[tool.perdure.environment]", f"conda = {toml(facts.imported.conda)}"]
    return "\n".join(lines) + "\n"


def _refuse_poetry(document: Mapping[str, object]) -> None:
    """Return unless the dependencies are in a table of another tool's own.

    Raises:
        UsageError: they are.
    """
    if "project" in document:
        return
    for tool in ("poetry", "flit", "pdm"):
        if "dependencies" in _table(_table(document, "tool"), tool):
            raise UsageError(
                f"pyproject.toml has its dependencies in `[tool.{tool}]`, where uv does not look",
                hint="write them as `dependencies` of `[project]` (PEP 621), then perdure adopt",
            )


def _sources(document: Mapping[str, object]) -> Mapping[str, object]:
    return _table(_table(_table(document, "tool"), "uv"), "sources")


def _table(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = table.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(table: Mapping[str, object], key: str) -> list[object]:
    found = table.get(key)
    return found if isinstance(found, list) else []
