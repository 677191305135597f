"""An ejection on the disk: written whole, and never over a file that somebody has edited.

A list of digests lies beside the Dockerfile, as `sha256sum --check` reads it: a file that it knows
by its contents is perdure's own, and may be replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from perdure.errors import ConflictError, StorageError, UsageError
from perdure.images.eject import FOLDER
from perdure.images.recipe import file_digest

LIST = f"{FOLDER}/ejected.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write(files: Mapping[str, str | Path], output: Path, *, force: bool) -> tuple[str, ...]:
    """Return the paths of the files that were written or removed; what is right is left alone.

    Files of another kind of ejection stay; those of an earlier ejection that are wanted no more
    are removed.

    Raises:
        ConflictError: naming files that were edited, without `force`.
        StorageError: the folder cannot be written.
        UsageError: a path of this machine cannot be written as text.
    """
    contents = {path: _content(path, item) for path, item in files.items()}
    digests = {
        path: file_digest(item) if isinstance(item, Path) else hashlib.sha256(item).hexdigest()
        for path, item in contents.items()
    }
    try:
        known = _read_list(output / LIST)
        stale = [path for path in known if path.startswith(f"{FOLDER}/") and path not in contents]
        changed = [path for path in contents if _digest(output / path) != digests[path]]
        if not force:
            _refuse_edited(output, known, [*changed, *stale])
        for path in changed:
            _place(contents[path], output / path)
        for path in stale:
            (output / path).unlink(missing_ok=True)
        kept = {path: digest for path, digest in known.items() if path not in stale}
        _write_list(output / LIST, {**kept, **digests})
    except OSError as error:
        raise StorageError(
            f"cannot write `{error.filename or output}`: {(error.strerror or str(error)).lower()}"
        ) from error
    return (*changed, *stale)


def _content(path: str, item: str | Path) -> bytes | Path:
    if isinstance(item, Path):
        return item
    try:
        return item.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"`{path}` cannot hold a path that is not UTF-8: `{error.object[:200]!a}`",
            hint="move the project, or its data, to a folder with another name",
        ) from error


def _refuse_edited(output: Path, known: Mapping[str, str], paths: list[str]) -> None:
    edited = [
        path
        for path in paths
        if os.path.lexists(output / path) and _digest(output / path) != known.get(path)
    ]
    if edited:
        listed = ", ".join(f"`{output / path}`" for path in edited)
        raise ConflictError(
            f"not written by perdure, or edited since: {listed}",
            hint="`--force` overwrites them; `--output DIR` writes elsewhere",
        )


def _digest(path: Path) -> str | None:
    return file_digest(path) if path.is_file() else None


def _place(content: bytes | Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.new")
    try:
        if isinstance(content, Path):
            shutil.copyfile(content, draft)
        else:
            draft.write_bytes(content)
        draft.chmod(0o644)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _read_list(file: Path) -> dict[str, str]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {line[2]: line[1] for line in found if line and _is_ours(line[2])}


def _is_ours(path: str) -> bool:
    """Return whether a path of the list stays in the folder: the list could be anybody's."""
    return ".." not in path.split("/") and not path.startswith("/")


def _write_list(file: Path, digests: Mapping[str, str]) -> None:
    text = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
    _place(text.encode(), file)
