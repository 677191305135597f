"""A service's folder on its target: what it is, how it stands, and the lock that says it lives.

    .perdure/services/<name>/
      spec.json    what is run, and its limits
      token        what the gate asks for; only this user can read it
      state.json   how it stands; written whole by the keeper
      lock         held by the keeper for as long as it lives
      stop         touch it: it ends
      log          what the keeper and the program say

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perdure.errors import PerdureError
from perdure.hosts import local, processes
from perdure.runtime import names

SERVICES = ".perdure/services"
SPEC, TOKEN, STATE, LOCK, STOP, LOG = "spec.json", "token", "state.json", "lock", "stop", "log"
# What every process of a service carries in its environment: the path of the service's folder.
VARIABLE = names.SERVICE
_AFTER_S = 30.0
_TRIES, _BETWEEN_S = 25, 0.02
STARTING, RUNNING, ENDED = "starting", "running", "ended"


def folder_of(root: str, name: str) -> Path:
    """Return the folder of a service of the project in `root`. Pure but for the user's home."""
    return Path(root).expanduser() / SERVICES / name


def read(path: Path) -> dict[str, Any]:
    """Return what a file of values says, nothing where it cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    draft.replace(path)


def take_lock(folder: Path) -> int | None:
    """Return a descriptor that holds the service's lock, None where its keeper lives.

    Whoever only looks (`is_alive`) has it for a moment, too: it is tried more than once.
    """
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_BETWEEN_S)
        else:
            return fd
    os.close(fd)
    return None


def is_alive(folder: Path) -> bool:
    """Return whether the service's keeper lives."""
    return processes.is_held(folder / LOCK)


def token_of(folder: Path) -> str:
    """Return a service's token, "" where there is none."""
    with contextlib.suppress(OSError):
        return (folder / TOKEN).read_text().strip()
    return ""


def last_words(folder: Path, lines: int = 8) -> str:
    """Return the last lines that the service said."""
    with contextlib.suppress(OSError):
        text = (folder / LOG).read_text(errors="replace").strip()
        return "\n".join(text.splitlines()[-lines:])
    return ""


def give(paths: Iterable[Path], owner: Sequence[int] | None) -> None:
    """Make root's files those of somebody else, who is to use them."""
    if owner is None or os.geteuid() != 0:
        return
    for path in paths:
        os.chown(path, *owner, follow_symlinks=False)


def run_after(spec: Mapping[str, Any]) -> None:
    """Run what is to be run when a service has ended; what it cannot do is not done."""
    environment = {**os.environ, **spec.get("environment", {})}
    for words in spec.get("after", []):
        with contextlib.suppress(PerdureError):
            local.run(words, timeout_s=_AFTER_S, env=environment)
