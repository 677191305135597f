"""What is known of a job before it runs: its data, its environment, its tools."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from perdure import __version__
from perdure.model.job import Data, EnvironmentUsed, Versions

# Beyond so many files a fingerprint would cost more than it tells; it then says that it is partial.
MOST_FILES = 200_000
PARTIAL = ":partial"
_DIGITS = 16


def read_data(folder: Path, *, most_files: int = MOST_FILES) -> Data:
    """Return a fingerprint of the data folder: names, sizes and times, no contents. Reads the disk.

    A link inside counts as where it points; it is not followed.
    """
    whole = hashlib.sha256()
    entries: dict[str, str] = {}
    files = size = 0
    for name in _sorted_names(folder):
        part = hashlib.sha256()
        for line, length in _lines(folder, name):
            part.update(os.fsencode(line))
            files += 1
            size += length
            if files >= most_files:
                break
        entries[name] = part.hexdigest()[:_DIGITS]
        whole.update(os.fsencode(f"{name}\0") + part.digest())
        if files >= most_files:
            return Data(whole.hexdigest()[:_DIGITS] + PARTIAL, files, size, entries)
    return Data(whole.hexdigest()[:_DIGITS], files, size, entries)


def read_environment(prefix: Path, lock: str, variant: str | None) -> EnvironmentUsed:
    """Return what is recorded of an installed environment. Reads its pyvenv.cfg."""
    return EnvironmentUsed(lock, variant, python_version(prefix), str(prefix))


def own_python() -> EnvironmentUsed:
    """Return what is recorded where there is no environment: whatever Python the machine has."""
    return EnvironmentUsed(None, None, "", None)


def python_version(prefix: Path) -> str:
    """Return the Python version of a virtual environment, "" where it does not say."""
    try:
        lines = (prefix / "pyvenv.cfg").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    # `venv` writes `version`, uv and virtualenv write `version_info`.
    settings = {key.strip(): value.strip() for key, _, value in (li.partition("=") for li in lines)}
    return settings.get("version_info") or settings.get("version") or ""


def versions() -> Versions:
    """Return the versions of the tools that submit. Reads the disk."""
    return Versions(__version__, platform.python_version(), _installed("uv"))


def _installed(name: str) -> str | None:
    """Return the version of an installed package, None where there is none.

    By the names of folders, as `importlib.metadata` finds it, which takes a job's whole start.
    """
    before, after = f"{name}-", ".dist-info"
    for folder in sys.path:
        for each in _sorted_names(Path(folder)):
            if each.startswith(before) and each.endswith(after):
                return each[len(before) : -len(after)]
    return None


def _sorted_names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def _lines(folder: Path, name: str) -> Iterator[tuple[str, int]]:
    """Yield a line for each file at or below `name`, in order, and its size in bytes."""
    path = folder / name
    try:
        found = path.lstat()
    except OSError:
        return
    if path.is_symlink():
        yield f"{name}\0-> {os.readlink(path)}\n", 0  # noqa: PTH115 - as text
    elif path.is_dir():
        for inner in _sorted_names(path):
            for line, size in _lines(path, inner):
                yield f"{name}/{line}", size
    else:
        yield f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n", found.st_size
