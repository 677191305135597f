"""The demonstration's project: made from the template, found again, or made anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import ConflictError

_MARK = Path(".perdure") / "demo.json"
# Where a person who tries things out would put a file of their own.
_WORKPLACES = ("src", "tests", "notebooks")


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a demonstration's folder was made of, and its files as they were made."""

    made_of: str
    files: Mapping[str, str]


def prepare(folder: Path, tell: Callable[[str], None]) -> None:
    """Make the demonstration's project, or take the one that an earlier demonstration made.

    Raises:
        ConflictError: `folder` holds something else, or an older demonstration with changes in it.
    """
    from perdure.project.template import answers_for, create_project
    from perdure.project.wheel import build_wheel

    made_of = _digest(build_wheel().content)
    mark = _read_mark(folder)
    if mark is not None and mark.made_of == made_of:
        tell(f"project `{folder.name}` is there already")
        return
    if mark is not None:
        _remove(folder, mark)
    tell(f"making project `{folder.name}` in `{folder}`")
    answers = answers_for("digits", description="Perdure's demonstration")
    created = create_project(folder, answers)
    files = {path.as_posix(): _digest((folder / path).read_bytes()) for path in created}
    # The template's .gitignore leaves this folder out.
    (folder / _MARK).parent.mkdir(exist_ok=True)
    (folder / _MARK).write_text(json.dumps({"made_of": made_of, "files": files}))


def _read_mark(folder: Path) -> _Mark | None:
    """Return what an earlier demonstration left, None where there was none."""
    try:
        found = json.loads((folder / _MARK).read_text())
        return _Mark(str(found["made_of"]), dict(found["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove(folder: Path, mark: _Mark) -> None:
    """Remove a demonstration of another perdure, unless somebody worked in it."""
    from perdure.jobs.snapshot import remove_tree

    changed = _changed(folder, mark)
    if changed is not None:
        raise ConflictError(
            f"`{folder}` holds a demo of another perdure, in which `{changed}` was changed",
            hint="perdure demo ANOTHER-FOLDER",
        )
    remove_tree(folder)


def _changed(folder: Path, mark: _Mark) -> str | None:
    """Return a file that is not as it was made, None where all of them are."""
    for path, digest in mark.files.items():
        file = folder / path
        if not file.is_file() or _digest(file.read_bytes()) != digest:
            return path
    for name in _WORKPLACES:
        for file in sorted((folder / name).rglob("*")):
            path = file.relative_to(folder).as_posix()
            if file.is_file() and "__pycache__" not in path and path not in mark.files:
                return path
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
