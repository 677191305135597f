"""The files that an image was made from, by their looks: where none has changed, it has not.

`remember` notes them once an image is there. `recall` then needs no lock, no recipe and no digest:
it looks at each file without reading it, and asks the engine one question. It imports little, for
most of what a command takes that has nothing to do is the time to import what does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import perdure

if TYPE_CHECKING:
    from perdure.model.image import Image
    from perdure.model.project import Project
    from perdure.model.settings import Settings

FORMAT = 1

_PROJECT_FILE = "pyproject.toml"
# Where a user's settings lie, and where modules are found first.
_VARIABLES = ("HOME", "PYTHONPATH", "XDG_CONFIG_HOME")
# The coarsest clock of a file system: what changes twice within a tick can look the same.
_TICK_NS = 2 * 10**9
_PACKAGE = Path(perdure.__file__).parent

Looks = list[int]
Document = dict[str, object]


def recall(start: Path, stage: str, variant: str | None) -> Document | None:
    """Return the image of the project around `start` if the engine has it and nothing has changed.

    It is as `described` has it. None where that cannot be told so: then it has to be worked out.
    `variant` is the one asked for.

    Raises:
        MissingProgram: there is no client of a container engine.
        EngineUnreachable: no engine answers.
        TimeoutExpired: it does not answer in time.
    """
    root = next((at for at in (start, *start.parents) if (at / _PROJECT_FILE).exists()), None)
    note = None if root is None else _read(note_of(root, stage))
    if root is None or note is None or note.get("asked") != _asked(root, variant):
        return None
    files = note.get("files")
    if not isinstance(files, dict) or any(looks(file) != seen for file, seen in files.items()):
        return None
    return _answered(note)


def remember(
    project: Project, settings: Settings, image: Image, variant: str | None, since_ns: int
) -> None:
    """Note what the image was made from; `since_ns` is when the first file of it was read.

    Nothing is noted where a file is that young that it may have changed since, nor where uv is not
    installed beside perdure. A note that cannot be written is done without.
    """
    from perdure.environments.lockfile import write_whole
    from perdure.errors import PerdureError

    with contextlib.suppress(OSError, PerdureError):
        files = _seen(project, settings, image.variant, since_ns)
        if files is None:
            return
        note = {
            "asked": _asked(project.root, variant),
            "files": files,
            "program": settings.docker.program,
            "image": described(image),
        }
        file = note_of(project.root, image.stage.value)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(note).encode())


def described(image: Image) -> Document:
    """Return the image as data."""
    return {
        "tag": image.tag,
        "id": image.id,
        "stage": image.stage.value,
        "variant": image.variant,
        "user_id": image.user.user_id,
        "group_id": image.user.group_id,
        "pegged": image.pegged,
    }


def note_of(root: Path, stage: str) -> Path:
    """Return the file of what a project's image of that stage was made from."""
    return root / ".perdure" / "images" / f"{stage}.json"


def looks(file: str | Path) -> Looks | None:
    """Return when a file or folder was changed and written, its size and its place on the disk.

    None where it is not there. A file that was put in another's place, with its times set back, has
    another time of change still.
    """
    try:
        found = os.stat(file)  # noqa: PTH116 - of some hundred files, each a text
    except (OSError, ValueError):
        return None
    return [found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino]


def _asked(root: Path, variant: str | None) -> dict[str, object]:
    """Return what decides about an image beside its files, as JSON has it.

    A copy of a project has its notes too, so the folder is in it; so is the perdure that runs.
    """
    owner = root.stat()
    return {
        "format": FORMAT,
        "root": str(root),
        "variant": variant,
        "user": [os.getuid(), os.getgid(), owner.st_uid, owner.st_gid],
        "perdure": [str(_PACKAGE), sys.prefix],
        "environ": [os.environ.get(name) for name in _VARIABLES],
    }


def _read(file: Path) -> Document | None:
    """Return a note, None where there is none that can be read."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _answered(note: Document) -> Document | None:
    """Return the image if the engine has it, None where it has not, or the note is damaged."""
    from perdure.hosts.engine_client import UNIX, endpoint_of, find_program
    from perdure.hosts.engine_socket import ask

    match note:
        case {
            "program": (str() | None) as program,
            "image": {
                "tag": str(tag),
                "stage": str(),
                "variant": str() | None,
                "user_id": int(),
                "group_id": int(),
                "pegged": False,
            },
        }:
            endpoint = endpoint_of(find_program(program, os.environ, building=False), os.environ)
            if not endpoint.startswith(UNIX):
                return None
            facts = ask(endpoint.removeprefix(UNIX), f"/images/{quote(tag, safe='')}/json")
            image = cast("Document", note["image"])
            return None if facts is None else {**image, "id": facts.get("Id", "")}
    return None


def _seen(
    project: Project, settings: Settings, variant: str | None, since_ns: int
) -> dict[str, Looks | None] | None:
    """Return the looks of all that the tag depends on, None where they cannot be relied upon."""
    from perdure.project.settings import settings_files

    packages = _packages()
    there = {packages, *_inputs(project, settings, variant)}
    # What is not there can come.
    perhaps = {*settings_files(project.root, os.environ), project.root / "setup.py"}
    files = {str(file): looks(file) for file in there | perhaps if file is not None}
    young = (look and max(look[:2]) > since_ns - _TICK_NS for look in files.values())
    if any(files.get(str(file)) is None for file in there) or any(young):
        return None
    return files


def _inputs(project: Project, settings: Settings, variant: str | None) -> Iterator[Path]:
    """Yield every file that the tag depends on, and folders that tell of new ones."""
    from perdure.environments.lockfile import PINNED_FILE
    from perdure.environments.requirements import export
    from perdure.environments.resolve import LOCK_FILE, read_manifest
    from perdure.images.recipe import DEV_GROUP

    for name in (_PROJECT_FILE, LOCK_FILE, PINNED_FILE):
        yield project.root / name
    yield from settings.files
    environment = project.environment
    yield from (each for each in environment.apt.values() if isinstance(each, Path))
    if environment.conda is not None:
        yield environment.conda
    yield from read_manifest(project).path_files(project.root)
    packages = export(project, settings, variant, groups=(DEV_GROUP,))
    yield from (each.file for each in packages if each.file is not None)
    for file in _PACKAGE.rglob("*.py"):
        yield from (file, file.parent)


def _packages() -> Path | None:
    """Return the folder of installed packages: a uv of another version is a change there."""
    from importlib.util import find_spec

    spec = find_spec("uv")
    return Path(spec.origin).parents[1] if spec is not None and spec.origin else None
