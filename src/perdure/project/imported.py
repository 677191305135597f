"""What a repository without `[project]` says of itself elsewhere: nothing of it is ever executed.

requirements.txt (pip's documentation, "Requirements File Format"), setup.cfg and setup.py
(setuptools' keywords, where they are written out), environment.yml (conda), .python-version.
"""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

REQUIREMENTS = "requirements.txt"
CONDA = ("environment.yml", "environment.yaml")

_NAME = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*")
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*"
    r"(?:\(?(?:_VERSION(?:\s*,\s*_VERSION)*,?)?\s*\)?|@\s*[^\s;]\S*)\s*"
    r"(?:;.+)?".replace("_VERSION", r"(?:===|==|~=|!=|<=|>=|<|>)\s*[^\s,;()<>=!~]+")
)
_CREDENTIALS = re.compile(r"://[^/@\s]+@")
_EGG = re.compile(r"#(?:.*&)?egg=([A-Za-z0-9._-]+)")
_HASH = re.compile(r"\s--hash[=\s]\S+")
_PYTHON = re.compile(r"(?<!\d)3\.(\d{1,2})(?!\d)")
_OWN = frozenset((".", "./", "-e .", "-e ./", "--editable ."))
_DEEPEST = 5


@dataclass(frozen=True, slots=True)
class Imported:
    """What was found; `files` are those it came from, `notes` what a person has to see to.

    `python` is a version such as `3.11`; `conda` the environment.yml that has to stay one.
    """

    name: str = ""
    version: str = ""
    description: str = ""
    python: str = ""
    dependencies: tuple[str, ...] = ()
    conda: str = ""
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_imported(root: Path) -> Imported:
    """Return what the files of a repository say, the later ones over the earlier. Reads them."""
    found = Imported()
    for read in (_setup_cfg, _setup_py, _environment, _requirements, _python_version):
        found = _over(found, read(root))
    return found


def name_of(requirement: str) -> str:
    """Return the normalised name of the package that a requirement is for (PEP 503)."""
    found = _NAME.match(requirement.strip())
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def _over(weaker: Imported, stronger: Imported) -> Imported:
    merged = {name_of(each): each for each in (*weaker.dependencies, *stronger.dependencies)}
    return Imported(
        name=stronger.name or weaker.name,
        version=stronger.version or weaker.version,
        description=stronger.description or weaker.description,
        python=stronger.python or weaker.python,
        dependencies=tuple(merged.values()),
        conda=stronger.conda or weaker.conda,
        files=(*weaker.files, *stronger.files),
        notes=(*weaker.notes, *stronger.notes),
    )


def _requirements(root: Path) -> Imported:
    if not (root / REQUIREMENTS).is_file():
        return Imported()
    kept, notes = [], []
    for where, line in _lines(root, REQUIREMENTS, 0):
        requirement = _as_requirement(line)
        if requirement:
            kept.append(requirement)
        elif line not in _OWN:
            notes.append(_refused(line, where))
    return Imported(dependencies=tuple(kept), files=(REQUIREMENTS,), notes=tuple(notes))


def _lines(root: Path, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of a requirements file, and of those that it includes, with their place."""
    text = _text(root / name)
    number = 0
    joined = ""
    for line in text.splitlines():
        number += 1
        joined += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        bare = " ".join(_HASH.sub("", re.sub(r"(^|\s)#.*", "", joined)).split())
        joined = ""
        other = re.fullmatch(r"(?:-r|--requirement)[\s=]+(\S.*)", bare)
        inside = other and _inside(root, (root / name).parent / other[1])
        if inside and depth < _DEEPEST:
            yield from _lines(root, inside, depth + 1)
        elif bare:
            yield f"{name}:{number}", bare


def _inside(root: Path, file: Path) -> str | None:
    """Return a file's name relative to the repository, None where it is not in there."""
    real, top = file.resolve(), root.resolve()
    return str(real.relative_to(top)) if real.is_relative_to(top) and real.is_file() else None


def _as_requirement(line: str) -> str | None:
    """Return a line as pyproject.toml has it (PEP 508), None where it cannot be one."""
    if _CREDENTIALS.search(line.replace("://git@", "://")):
        # A password belongs into nobody's pyproject.toml.
        return None
    if line.startswith(("-e ", "git+")) or "://" in line.partition("#egg")[0]:
        bare = line.removeprefix("-e ").strip()
        egg = _EGG.search(bare)
        if egg and "://" in bare:
            return f"{egg[1]} @ {bare.partition('#')[0]}"
        return line if _REQUIREMENT.fullmatch(line) and " @ " in line else None
    return line if _REQUIREMENT.fullmatch(line) else None


def _setup_cfg(root: Path) -> Imported:
    text = _text(root / "setup.cfg")
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return Imported(notes=("setup.cfg cannot be read",))
    if not parser.has_section("metadata") and not parser.has_section("options"):
        return Imported()
    listed = parser.get("options", "install_requires", fallback="").splitlines()
    kept, notes = _sorted_out([line.strip() for line in listed if line.strip()], "setup.cfg")
    version = parser.get("metadata", "version", fallback="")
    return Imported(
        name=parser.get("metadata", "name", fallback=""),
        version="" if version.startswith(("attr:", "file:")) else version,
        description=parser.get("metadata", "description", fallback=""),
        dependencies=kept,
        files=("setup.cfg",),
        notes=notes,
    )


def _setup_py(root: Path) -> Imported:
    """Return what the call of `setup` says in so many words; what it computes becomes a note."""
    try:
        tree = ast.parse(_text(root / "setup.py"))
    except (SyntaxError, ValueError, RecursionError):
        return Imported(notes=("setup.py cannot be read",))
    calls = (each for each in ast.walk(tree) if isinstance(each, ast.Call))
    call = next((each for each in calls if ast.unparse(each.func).endswith("setup")), None)
    if call is None:
        return Imported()
    values: dict[str, object] = {}
    notes = []
    for keyword in call.keywords:
        try:
            values[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            if keyword.arg in ("install_requires", "name"):
                notes.append(f"setup.py computes `{keyword.arg}`: look whether it is all here")
    listed = values.get("install_requires", [])
    listed = listed.splitlines() if isinstance(listed, str) else listed
    names = [str(each).strip() for each in listed] if isinstance(listed, list | tuple) else []
    kept, refused = _sorted_out([each for each in names if each], "setup.py")
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    return Imported(
        name=texts.get("name", ""),
        version=texts.get("version", ""),
        description=texts.get("description", ""),
        dependencies=kept,
        files=("setup.py",),
        notes=(*notes, *refused),
    )


def _environment(root: Path) -> Imported:
    """Return what environment.yml has for pip if that is all it has; else it stays conda's."""
    name = next((each for each in CONDA if (root / each).is_file()), None)
    if name is None:
        return Imported()
    conda, pip = _conda_lists(_text(root / name))
    python = next((each for each in conda if re.match(r"python\b(?!-)", each)), "")
    minor = _PYTHON.search(python)
    found = Imported(python=f"3.{minor[1]}" if minor else "", files=(name,))
    if all(re.match(r"(python|pip)\b(?!-)", each) for each in conda) and (conda or pip):
        kept, notes = _sorted_out(pip, name)
        return replace(found, dependencies=kept, notes=notes)
    return replace(found, conda=name)


def _conda_lists(text: str) -> tuple[list[str], list[str]]:
    """Return the packages of conda and those of pip in an environment.yml as people write it.

    What is written otherwise is not understood: then both are empty.
    """
    conda: list[str] = []
    pip: list[str] = []
    section, pip_at = "", -1
    for line in text.splitlines():
        bare = re.sub(r"(^|\s)#.*", "", line).rstrip()
        indent = len(bare) - len(bare.lstrip())
        if not bare:
            continue
        item = re.fullmatch(r"-\s+(.+)", bare.strip())
        if item is None:
            section, pip_at = (bare.partition(":")[0], -1) if indent == 0 else (section, pip_at)
        elif section == "dependencies" and item[1].strip() == "pip:":
            pip_at = indent
        elif section == "dependencies":
            inside = 0 <= pip_at < indent
            pip_at = pip_at if inside else -1
            (pip if inside else conda).append(item[1].strip().strip("'\""))
    return conda, pip


def _python_version(root: Path) -> Imported:
    found = _PYTHON.search(_text(root / ".python-version"))
    return Imported(python=f"3.{found[1]}", files=(".python-version",)) if found else Imported()


def _sorted_out(lines: Sequence[str], file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those lines that are requirements, and a note on each of the others."""
    kept = [(line, _as_requirement(line)) for line in lines if line not in _OWN]
    notes = [_refused(line, file) for line, found in kept if found is None]
    return tuple(found for _, found in kept if found), tuple(notes)


def _refused(line: str, where: str) -> str:
    return f"not taken over from {where}: `{_CREDENTIALS.sub('://***@', line)}`"


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig", "replace")
    except OSError:
        return ""
