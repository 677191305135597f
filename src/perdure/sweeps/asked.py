"""The values of trials that were proposed one by one: `asked.jsonl`, a line a trial.

What a crash takes from it, Optuna's journal still has: see `tuner`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from perdure.sweeps.record import ASKED_FILE


def read(folder: Path) -> dict[int, dict[str, str]]:
    """Return the values by trial. Reads the disk; a torn line is left out."""
    try:
        lines = (folder / ASKED_FILE).read_bytes().split(b"\n")
    except OSError:
        return {}
    found: dict[int, dict[str, str]] = {}
    for line in lines:
        try:
            content = json.loads(line)
            found[int(content["trial"])] = {str(k): str(v) for k, v in content["values"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def add(folder: Path, trial: int, values: Mapping[str, str]) -> None:
    """Append a trial's values. Touches the disk.

    Raises:
        OSError: the disk refuses.
    """
    line = b"\n" + json.dumps({"trial": trial, "values": dict(values)}).encode() + b"\n"
    fd = os.open(folder / ASKED_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        written = os.write(fd, line)
        if written < len(line):
            raise OSError(28, os.strerror(28), os.fspath(folder / ASKED_FILE))
    finally:
        os.close(fd)
