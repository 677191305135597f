"""perdure.lock: what an image is made from beside uv.lock, as a file for git.

The same lock gives the same bytes. The head, up to the first table, holds all that tells whether it
is up to date, so that a job on this machine reads no more than that.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

from perdure.environments.uv import unwritable
from perdure.errors import EnvironmentFailed, NewerFormatError, StorageError
from perdure.model.image import ImageLock
from perdure.model.project import Project

PINNED_FILE = "perdure.lock"
FORMAT = 1

_HEADING = """\
# Written by `perdure lock`; what it was made for stands in pyproject.toml. It belongs into git.
"""


@dataclass(frozen=True, slots=True)
class Head:
    """What tells whether a lock is up to date; `image` is empty where no image was locked."""

    wanted: str
    image: str
    uv: str


def read_pinned(project: Project) -> ImageLock | None:
    """Return the project's perdure.lock, None where there is none.

    Raises:
        EnvironmentFailed: it is damaged.
        NewerFormatError: a newer perdure wrote it.
    """
    file = project.root / PINNED_FILE
    text = _read(file)
    return None if text is None else decode(text, file)


def read_head(project: Project) -> Head | None:
    """Return the head of the project's perdure.lock, None where there is none. Raises as above."""
    file = project.root / PINNED_FILE
    text = _read(file)
    if text is None:
        return None
    table = _table(text.partition("\n[")[0], file)
    wanted, image, uv = (table.get(key) for key in ("wanted", "image", "uv"))
    if not (isinstance(wanted, str) and isinstance(image, str) and isinstance(uv, str)):
        raise _damaged(file, "its head is incomplete")
    return Head(wanted, image, uv)


def write_pinned(project: Project, lock: ImageLock) -> None:
    """Write the project's perdure.lock, whole or not at all; not where it is the same already.

    Raises:
        StorageError: it cannot be written.
    """
    file = project.root / PINNED_FILE
    text = encode(lock)
    if _read(file) != text:
        write_whole(file, text.encode())


def encode(lock: ImageLock) -> str:
    """Return the text of a lock. Pure."""
    head = {
        "format": FORMAT,
        "wanted": lock.wanted,
        "image": lock.image,
        "uv": lock.uv,
        "platform": lock.platform,
        "python": lock.python,
        "python_source": lock.python_source,
    }
    lines = [_HEADING, *_pairs(head)]
    if lock.base is not None:
        base = {key: value for key, value in asdict(lock.base).items() if value is not None}
        lines += ["\n[base]\n", *_pairs(base)]
    lines += ["\n[tiers]\n", *_pairs({name: lock.tiers[name] for name in sorted(lock.tiers)})]
    if any(lock.apt.values()):
        lines.append("\n[apt]\n")
        for stage, packages in lock.apt.items():
            lines += _listed(stage, [asdict(each) for each in packages])
    if lock.conda:
        lines += ["\n[conda]\n", *_listed("packages", [asdict(each) for each in lock.conda])]
    return "".join(lines)


@lru_cache(maxsize=4)
def decode(text: str, file: Path) -> ImageLock:
    """Return the lock of that text; `file` is for messages.

    Raises:
        EnvironmentFailed: it is damaged.
        NewerFormatError: a newer perdure wrote it.
    """
    import msgspec

    table = _table(text, file)
    conda = table.get("conda")
    packages = conda.get("packages") if isinstance(conda, dict) else ()
    base = table.get("base")
    if isinstance(base, dict):
        table["base"] = {"python": None, **base}
    try:
        return msgspec.convert({**table, "conda": packages}, ImageLock)
    except msgspec.ValidationError as error:
        raise _damaged(file, str(error).lower()) from error


def write_whole(file: Path, content: bytes) -> None:
    """Write the file whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    fresh = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise unwritable(file.parent, error) from error


def _read(file: Path) -> str | None:
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read `{file}`: {(error.strerror or '').lower()}") from error


def _table(text: str, file: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _damaged(file, str(error).lower()) from error
    found = table.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise NewerFormatError(
            f"`{file}` has format {found}; this perdure reads up to {FORMAT}",
            hint="pip install --upgrade 'perdure[cli]'",
        )
    return table


def _damaged(file: Path, why: str) -> EnvironmentFailed:
    return EnvironmentFailed(
        f"`{file}` is damaged: {why}",
        hint=f"git checkout {file.name} (in a merge: --ours), then perdure lock; "
        "or perdure lock --again",
    )


def _pairs(table: Mapping[str, object]) -> Iterator[str]:
    return (f"{_key(name)} = {_value(value)}\n" for name, value in table.items())


def _listed(name: str, tables: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Yield a list of tables, each on a line of its own: that is what git compares."""
    yield f"{_key(name)} = ["
    for table in tables:
        pairs = ", ".join(f"{key} = {_value(value)}" for key, value in table.items() if value != "")
        yield f"\n    {{ {pairs} }},"
    yield "\n]\n" if tables else "]\n"


def _key(name: str) -> str:
    return (
        name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _text(name)
    )


def _value(value: object) -> str:
    if isinstance(value, Enum):
        return _text(str(value.value))
    return str(value) if isinstance(value, int) else _text(str(value))


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
