"""A new project: the template rendered, and recorded so that it can be upgraded later.

The rendered files are a commit of their own, at `refs/perdure/template` and the first of the
history; the record of it, `.perdure-template.toml`, is in the second. `perdure.project.upgrade` is
what reads it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from perdure.errors import ConflictError, MissingProgram, StorageError
from perdure.model.report import Report, silent
from perdure.project import history
from perdure.project.names import Answers, answers_for, check_answers
from perdure.project.record import RECORD, TemplateRecord, blob_id, record_text, toml
from perdure.project.wheel import Wheel, build_wheel, installed_from_index

__all__ = ["RECORD", "Answers", "answers_for", "create_project", "render"]

# Counts the template's changes, so that an older perdure does not take one back.
VERSION = 1
TORCH = "2.13.0"

_TEMPLATE = Path(__file__).parent.parent / "template"
_SUFFIX = ".jinja"
_WHEELS = "vendor"


def create_project(folder: Path, answers: Answers, *, report: Report = silent) -> list[Path]:
    """Return the files of the project made in `folder`, relative to it; all of them, or none.

    With git, they are the folder's first commits; inside a repository that holds the folder, and
    without git, there are no commits, and `report` is told.

    Raises:
        UsageError: the project cannot have that name.
        ConflictError: the folder holds something already.
        StorageError: it cannot be written.
    """
    check_answers(answers)
    files = render(answers, own_wheel())
    existed = _prepare(folder)
    try:
        _write(folder, files)
        _record(folder, answers, files, report)
    except BaseException as error:
        _remove(folder, keep=existed)
        if isinstance(error, OSError):
            raise _unwritable(folder, error) from error
        raise
    return sorted(Path(name) for name in [*files, RECORD])


def own_wheel() -> Wheel | None:
    """Return this perdure for a project to bring along, None where an index has it."""
    return None if installed_from_index() else build_wheel()


def render(answers: Answers, wheel: Wheel | None) -> dict[str, bytes]:
    """Return the template's files by name; the same answers and wheel give identical bytes."""
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # The files are text, TOML and Python; nothing here is HTML.
        autoescape=False,  # noqa: S701
    )
    environment.filters["toml"] = toml
    environment.filters["line"] = _line
    facts = _facts(answers, wheel)
    files = {
        _place(file, answers.package): environment.from_string(file.read_text("utf-8"))
        .render(facts)
        .encode("utf-8")
        for file in sorted(_TEMPLATE.rglob(f"*{_SUFFIX}"))
    }
    if wheel is not None:
        files[f"{_WHEELS}/{wheel.name}"] = wheel.content
    return files


def _facts(answers: Answers, wheel: Wheel | None) -> dict[str, str]:
    from perdure import __version__

    brought = f"{_WHEELS}/{wheel.name}" if wheel else ""
    return {
        "name": answers.name,
        "package": answers.package,
        "description": _line(answers.description),
        "author": _line(answers.author),
        "python": answers.python or _python_here(),
        "torch": TORCH,
        "perdure_wheel": brought,
        "perdure_requirement": "perdure" if wheel else f"perdure=={__version__}",
        "install": f"'{brought}[cli]'" if wheel else f"'perdure[cli]=={__version__}'",
    }


def _python_here() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _place(file: Path, package: str) -> str:
    """Return where a file of the template goes: `dot_x` is `.x`, PACKAGE the package."""
    parts = file.relative_to(_TEMPLATE).as_posix().removesuffix(_SUFFIX).split("/")
    named = (package if part == "PACKAGE" else part for part in parts)
    return "/".join(f".{part[4:]}" if part.startswith("dot_") else part for part in named)


def _line(text: str) -> str:
    """Return the text on one line, without what UTF-8 cannot hold."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _prepare(folder: Path) -> bool:
    """Make the folder, return whether it was there."""
    try:
        if folder.is_symlink() or folder.exists():
            if not folder.is_dir() or any(folder.iterdir()):
                raise ConflictError(
                    f"`{folder}` is there already and not an empty folder",
                    hint="name another folder, one that is not there yet",
                )
            return True
        folder.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return False


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _record(folder: Path, answers: Answers, files: Mapping[str, bytes], report: Report) -> None:
    """Write the record, after the commit that it names where there is git."""
    base = None
    try:
        if history.belongs_elsewhere(folder):
            report("the folder is part of a git repository: its files are yours to commit")
        else:
            base = history.begin(folder, sorted(files), f"Perdure's template, version {VERSION}")
    except MissingProgram:
        report("git was not found: the project has no history, and jobs will not know their commit")
    record = record_of(files, answers, base)
    _write(folder, {RECORD: record_text(record).encode()})
    if base:
        history.commit(folder, [RECORD], f"Begin {answers.name}", parent=base)


def record_of(files: Mapping[str, bytes], answers: Answers, base: str | None) -> TemplateRecord:
    """Return the record of files that were rendered now; `base` is the commit that has them."""
    digits = len(base) if base else 40
    ids = {name: blob_id(content, digits) for name, content in files.items()}
    said = replace(
        answers,
        description=_line(answers.description),
        author=_line(answers.author),
        python=answers.python or _python_here(),
    )
    return TemplateRecord(VERSION, said, base, ids)


def _remove(folder: Path, *, keep: bool) -> None:
    for entry in folder.iterdir() if keep else [folder]:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot write `{folder}`: {(error.strerror or str(error)).lower()}")
