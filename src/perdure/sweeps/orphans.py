"""Sweeps that should have a driver, and have none: it was killed, or its machine.

`perdure ps` asks each time: of sweeps that are driven, or over, nothing more is read than that.
"""

from __future__ import annotations

import os
from pathlib import Path

from perdure.errors import PerdureError
from perdure.model.project import Project
from perdure.sweeps.holding import is_driven, last_word, version

FOLDER = "sweeps"


def orphaned(project: Project) -> list[Path]:
    """Return the sweeps that should have a driver and have none, in the order of the alphabet.

    Reads the disk.
    """
    try:
        with os.scandir(project.state / FOLDER) as entries:
            names = sorted(each.name for each in entries if not each.name.startswith("."))
    except OSError:
        return []
    folders = (project.state / FOLDER / name for name in names)
    return [folder for folder in folders if is_orphaned(folder)]


def is_orphaned(folder: Path) -> bool:
    """Return whether a sweep should have a driver, and has none. Reads the disk."""
    if is_driven(folder):
        return False
    word = last_word(folder)
    try:
        if word is not None and word.over == version(folder):
            return False
        from perdure.sweeps.record import read_sweep

        sweep = read_sweep(folder)
        # One whose axes nobody can read would have none for long.
        return not (sweep.stopped or sweep.problem)
    except (OSError, PerdureError):
        return False
