"""A command as a question to a host: its answer as values that any pipe carries.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perdure.errors import StorageError
from perdure.hosts import local

# What a short question may take.
ASK_S = 30.0


def run(
    argv: Sequence[str],
    timeout_s: float,
    variables: Mapping[str, str],
    cwd: str | None,
    stdin: bytes | None,
    on_line: local.LineCallback | None = None,
) -> dict[str, Any]:
    """Return how a command ended: `code`, `stdout`, `stderr`; as `local.run` otherwise."""
    environment = {**os.environ, **variables}
    folder = None if cwd is None else str(Path(cwd).expanduser())
    done = local.run(
        argv, timeout_s=timeout_s, env=environment, cwd=folder, stdin=stdin, on_line=on_line
    )
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def answer() -> bool:
    """Return True: whoever asks knows then that somebody is there."""
    return True


def script(argv: Sequence[str], variables: Mapping[str, str], cwd: str | None) -> str:
    """Return what makes a POSIX shell run a command with these variables in that folder. Pure.

    A folder that begins with `~/` is below the home folder.
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if cwd is not None:
        home = cwd == "~" or cwd.startswith("~/")
        folder = f'"$HOME"{shlex.quote(cwd[1:])}' if home else shlex.quote(cwd)
        lines.append(f"cd -- {folder} || exit 1" if not home else f"cd {folder} || exit 1")
    return "\n".join([*lines, "exec " + " ".join(shlex.quote(word) for word in argv)])


def leave_script(text: str) -> str:
    """Return the path of a private file with a script that removes itself when it is run.

    Raises:
        StorageError: there is no room for it.
    """
    data = f'rm -f -- "$0"\n{text}\n'.encode("utf-8", "surrogateescape")
    for folder in _private_places():
        try:
            fd, path = tempfile.mkstemp(prefix="perdure-", suffix=".sh", dir=folder)
        except OSError:
            continue
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        except OSError:
            os.unlink(path)  # noqa: PTH108 - a name, not a path
            continue
        return path
    raise StorageError("there is no folder with room for a small file", hint="df -h /tmp; df -i")


def _private_places() -> tuple[str, ...]:
    """Return the folders for what nobody else may read, those in memory first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [runtime, "/dev/shm", os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp"]  # noqa: S108 - mkstemp's
    return (*(each for each in places if each.startswith("/")), str(Path("~").expanduser()))
