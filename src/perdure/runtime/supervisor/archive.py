"""The supervisor as one file that any Python 3.9 or newer runs: a zipapp.

The same sources give the same bytes: a fixed order, a fixed date, no compression.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[2]
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = (
    "import sys\n\nfrom perdure.runtime.supervisor.program import main\n\n"
    "sys.exit(main(sys.argv[1:]))\n"
)
_OLDEST = (1980, 1, 1, 0, 0, 0)  # the first day that a zip file knows
_OUTSIDE = (
    "__init__.py",
    "runtime/__init__.py",
    "runtime/array.py",
    "runtime/generation.py",
    "runtime/names.py",
    "runtime/settled.py",
)
# The last two are the driver's of a sweep, which is no zipapp.
_LEFT_OUT = ("__main__.py", "archive.py", "several.py", "settling.py")


def build_archive(path: str | os.PathLike[str]) -> Path:
    """Write the zipapp to `path`, executable, and return where it is. Touches the disk."""
    target = Path(path)
    with target.open("wb") as file:
        file.write(_SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, text in _contents().items():
                entry = zipfile.ZipInfo(name, _OLDEST)
                entry.create_system = 3  # unix, wherever it was made
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, text)
    target.chmod(target.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return target


def _contents() -> dict[str, str]:
    """Return the text of each file in the archive, by its name there."""
    modules = sorted(
        path.relative_to(_PACKAGE).as_posix()
        for path in (_PACKAGE / "runtime" / "supervisor").glob("*.py")
        if path.name not in _LEFT_OUT
    )
    files = {"__main__.py": _MAIN}
    for name in (*_OUTSIDE, *modules):
        files[f"perdure/{name}"] = (_PACKAGE / name).read_text(encoding="utf-8")
    return files
