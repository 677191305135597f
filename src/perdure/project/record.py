"""The record of the template a project was made from: `.perdure-template.toml`, kept in git.

It names each rendered file by git's own name for its content. So a clone has all that an upgrade
needs: git keeps a content for as long as any commit has it, however often the history around it was
rewritten, and a private ref, which no clone brings along, is not asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import UsageError
from perdure.project.names import Answers
from perdure.project.validate import Problem, dotted, read_toml, refuse, refuse_newer

RECORD = ".perdure-template.toml"
FORMAT = 1

_HEAD = "# From which template this project was made: `perdure upgrade` starts here."
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PYTHON = re.compile(r"3\.\d{1,3}")
_ANSWERS = ("name", "package", "description", "author", "python")
_NEEDED = ("name", "package")


@dataclass(frozen=True, slots=True)
class TemplateRecord:
    """A template's version, the answers it was rendered with, and what came of it.

    `files` has git's blob id of each rendered file by its name, relative to the project; it is
    empty in the records of the first perdures. `base` is the commit that has just these files, None
    where there was none.
    """

    version: int
    answers: Answers
    base: str | None
    files: Mapping[str, str]


def read_record(root: Path) -> TemplateRecord:
    """Return the record of the project in `root`. Reads one file.

    Raises:
        UsageError: there is none, or naming every problem of it.
        NewerFormatError: it was written by a newer perdure.
    """
    file = root / RECORD
    if file.is_symlink():
        raise UsageError(f"`{file}` is a link, and an upgrade would write where it leads")
    if not file.is_file():
        raise UsageError(
            f"there is no `{RECORD}` in `{root}`: the project was not made by `perdure new`, so "
            "there is no template to bring it up to",
            hint="perdure new NAME, elsewhere, and copy from it what you like",
        )
    table = read_toml(file)
    refuse_newer(table, FORMAT, file)
    refuse(file, _problems(table))
    answers = _strings(table.get("answers"))
    base = table.get("base")
    version = table["version"]
    assert isinstance(version, int)
    return TemplateRecord(
        version=version,
        answers=Answers(**{name: answers[name] for name in _ANSWERS if name in answers}),
        base=base if isinstance(base, str) else None,
        files=_strings(table.get("files")),
    )


def record_text(record: TemplateRecord) -> str:
    """Return the file's text; the same record gives identical bytes."""
    lines = [_HEAD, f"format = {FORMAT}", f"version = {record.version}"]
    lines += [f"base = {toml(record.base)}"] if record.base else []
    given = {name: getattr(record.answers, name) for name in _ANSWERS}
    lines += ["", "[answers]", *(f"{name} = {toml(text)}" for name, text in given.items())]
    lines += ["", "# What was rendered, by git's name for its content.", "[files]"]
    lines += [f"{toml(name)} = {toml(record.files[name])}" for name in sorted(record.files)]
    return "\n".join(lines) + "\n"


def blob_id(content: bytes, digits: int = 40) -> str:
    """Return git's name for a content, in a repository whose names have that many digits.

    Source: gitformat-pack, "object name": the hash of a header, the size and the content.
    """
    # SHA-1 is git's name for a content, and guards nothing here.
    digest = hashlib.sha256() if digits == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest()


def toml(text: str) -> str:
    """Return a TOML basic string: JSON's, but for the one control character JSON lets through."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _problems(table: Mapping[str, object]) -> list[Problem]:
    found = []
    if type(table.get("version")) is not int:
        found.append(Problem("version", "expected a whole number"))
    base = table.get("base")
    if base is not None and not _is_id(base):
        found.append(Problem("base", "expected the id of a commit"))
    answers = table.get("answers")
    if not isinstance(answers, dict):
        return [*found, Problem("answers", "expected a table")]
    found += [
        Problem(dotted("answers", name), "expected a text")
        for name in _ANSWERS
        if not isinstance(answers.get(name, None if name in _NEEDED else ""), str)
    ]
    python = answers.get("python", "")
    if isinstance(python, str) and python and not _PYTHON.fullmatch(python):
        found.append(Problem("answers.python", "expected a version such as 3.11"))
    files = table.get("files", {})
    if not isinstance(files, dict):
        return [*found, Problem("files", "expected a table")]
    return found + [
        Problem(dotted("files", name), "expected git's name for what is in it")
        if _is_inside(name)
        else Problem(dotted("files", name), "expected the name of a file in the project")
        for name, text in files.items()
        if not (_is_id(text) and _is_inside(name))
    ]


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_inside(name: str) -> bool:
    """Return whether a name stays below the project, and is not git's own."""
    parts = name.split("/")
    return not {"", ".", ".."} & set(parts) and parts[0].lower() != ".git" and "\0" not in name


def _strings(table: object) -> dict[str, str]:
    assert table is None or isinstance(table, dict)
    return {str(name): str(text) for name, text in (table or {}).items()}
