"""What a host is, as it says itself.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

from perdure.errors import PerdureError
from perdure.hosts.local import run

_ASK_S = 5.0


def survey(folder: str) -> dict[str, Any]:
    """Return the host's system, memory, GPUs, and the free space where `folder` is or would be."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "user": _user(),
        "home": str(Path("~").expanduser()),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        "memory_bytes": _memory(),
        "disk_free_bytes": shutil.disk_usage(_existing(folder)).free,
        "gpus": _gpus(),
        "time": time.time(),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A number that no list of users has: of a container, or of a directory that is away.
        return str(os.getuid())


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def _existing(folder: str) -> str:
    path = Path(folder).expanduser().absolute()
    # `Path.is_dir` raises where the folder around it may not be entered.
    return str(next(p for p in (path, *path.parents) if os.path.isdir(p)))  # noqa: PTH112


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    words = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = run(words, timeout_s=_ASK_S)
    except PerdureError:
        return []
    lines = answer.text.splitlines() if answer.returncode == 0 else []
    return [line.strip() for line in lines if line.strip()]
