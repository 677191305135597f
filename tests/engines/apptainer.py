"""The real Apptainer of the tests, and where nodes find it: `tests/engines/apptainer`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).with_name("apptainer")
LIMIT_S = 700.0


def prepare() -> None:
    """Return once it is there.

    Raises:
        RuntimeError: it cannot be had here.
    """
    argv = [str(SCRIPT), "up"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise RuntimeError(f"no Apptainer here: {done.stderr.decode()}")


def bring(folder: Path, name: str = "apptainer") -> Path:
    """Return a folder that has the command, by that name, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(SCRIPT)
    return folder


def on_path(folder: Path) -> str:
    """Return where programs are found, that folder first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
