"""A package as a person asks for it, read before anything is written or run."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from perdure.environments.manifest import normalised
from perdure.errors import UsageError
from perdure.model import debian

_PIP_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"(?:~=|===?|!=|<=|>=|<|>)\s*[A-Za-z0-9._*+!-]+"
# PEP 508, without the parentheses that it allows and nobody writes.
_PIP = re.compile(
    rf"(?P<name>{_PIP_NAME})\s*(?P<extras>\[[A-Za-z0-9._,\s-]*\])?\s*"
    rf"(?:(?P<versions>{_CLAUSE}(?:\s*,\s*{_CLAUSE})*)|@\s*(?P<url>\S+))?"
    r"\s*(?P<marker>;.*\S)?",
    re.ASCII,
)
_APT = re.compile(r"(?P<name>[^=]+)(?:=(?P<versions>.+))?")
# conda's match specifications as people write them: [channel::]name[ version[ build]].
_CONDA = re.compile(
    r"(?P<channel>[A-Za-z0-9./_-]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)"
    r"\s*(?P<versions>[=<>!~][=<>!~A-Za-z0-9.*+_,| -]*)?",
    re.ASCII,
)


class Kind(Enum):
    """Who installs a package."""

    PIP = "pip"
    APT = "apt"
    CONDA = "conda"


_EXAMPLES = {
    Kind.PIP: "NAME, 'NAME>=1.2', 'NAME[extra]' or 'NAME @ git+https://...'",
    Kind.APT: "NAME or NAME=VERSION, as `apt-get install` takes it",
    Kind.CONDA: "NAME, 'NAME>=1.2' or CHANNEL::NAME",
}
_PATTERNS = {Kind.PIP: _PIP, Kind.APT: _APT, Kind.CONDA: _CONDA}
_LEADING_NAME = re.compile(rf"(?P<name>{_PIP_NAME})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A package asked for: its name, and the text that declares it.

    `open` says that any version will do. `source` is what `[tool.uv.sources]` says of it: a
    repository or a file, which stand there and not in the declaration.
    """

    kind: Kind
    name: str
    text: str
    open: bool = True
    source: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def key(self) -> str:
        """Return the name as it is compared."""
        return key(self.kind, self.name)

    def at_least(self, version: str) -> str:
        """Return the text that asks for this version or a newer one (PEP 440: no local part)."""
        found = _PIP.fullmatch(self.text)
        if found is None or not self.open:
            return self.text
        marker = found["marker"] or ""
        bound = f"{found['name']}{found['extras'] or ''}>={version.partition('+')[0]}"
        return f"{bound} {marker}" if marker else bound


def read_wanted(kind: Kind, word: str) -> Wanted:
    """Return what one word of a command line asks for.

    Raises:
        UsageError: it cannot be read, or is a module that Python itself has.
    """
    word = word.strip()
    found = _PATTERNS[kind].fullmatch(word)
    if kind is Kind.APT and (problem := debian.package_problem(word)):
        raise UsageError(problem, hint=_EXAMPLES[kind])
    if found is None:
        raise UsageError(
            f"`{word}` cannot be read as a package for {kind.value}", hint=_EXAMPLES[kind]
        )
    name = found["name"]
    if kind is not Kind.PIP:
        return Wanted(kind, name, word, open=not found["versions"])
    if name.replace("-", "_") in sys.stdlib_module_names:
        raise UsageError(
            f"`{name}` is a module of Python itself, not a package to add",
            hint=f"`import {name}` works without it",
        )
    if not found["url"]:
        return Wanted(kind, name, word, open=not found["versions"])
    text = f"{name}{found['extras'] or ''}" + (f" {found['marker']}" if found["marker"] else "")
    return Wanted(kind, name, text, open=False, source=_source(word, found["url"]))


def declared_name(kind: Kind, text: str) -> str | None:
    """Return the name in a declaration as it is compared, None where there is none to be seen."""
    found = (_PATTERNS[kind] if kind is not Kind.PIP else _LEADING_NAME).match(text.strip())
    return key(kind, found["name"]) if found else None


def key(kind: Kind, name: str) -> str:
    """Return a package's name as names are compared."""
    return normalised(name) if kind is Kind.PIP else name.lower()


def _source(word: str, url: str) -> dict[str, str]:
    """Return what `[tool.uv.sources]` says of a package with that URL."""
    if "@" in url.partition("://")[2].partition("/")[0] and not url.startswith("git+ssh://"):
        raise UsageError(
            "a user or a password in a URL would stand in pyproject.toml for all to read",
            hint="leave them out; git's and uv's own settings know them",
        )
    if url.startswith("git+"):
        place, _, fragment = url.removeprefix("git+").partition("#")
        head, at, revision = place.rpartition("@")
        # An @ before the last slash is a user's, as in ssh://git@host/.
        is_revision = bool(at) and "/" not in revision.split("@")[-1] and "/" in head[8:]
        source = {"git": head, "rev": revision} if is_revision else {"git": place}
        folder = re.search(r"(?:^|&)subdirectory=([^&]+)", fragment)
        return {**source, "subdirectory": folder[1]} if folder else source
    if url.startswith(("https://", "http://")):
        return {"url": url}
    raise UsageError(
        f"`{word}` names neither a repository nor a file on the web",
        hint="a file of this project: `[tool.uv.sources] NAME = { path = ... }` in pyproject.toml",
    )
