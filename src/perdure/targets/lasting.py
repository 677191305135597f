"""A command that lasts longer than the connection over which it was asked for.

It is begun, heard and ended by its folder, in which `perdure.hosts.side.errand` runs it: who asks
may lose the connection, and go on hearing where it broke off.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from importlib.abc import InspectLoader
from pathlib import Path
from typing import Any

from perdure.errors import MissingProgram, PerdureError, TimeoutExpired
from perdure.hosts import local, processes
from perdure.hosts.side import errand as runner
from perdure.hosts.side.outliving import Running, spawn_outliving
from perdure.targets.protocol import Errand

Values = dict[str, Any]

FOLDER = ".perdure/lasting"
_START_S = 30.0
_END_S = 90.0
_LOOK_S = 0.02
_MOST_BYTES = 4 << 20
# What somebody left who never came back for it.
_OLD_S = 7 * 86_400.0


def prepare(folder: str) -> None:
    """Make the folder of a command that is to be begun, and put away those that nobody wants."""
    path = Path(folder)
    _clear_old(path.parent)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def begin(folder: Path, errand: Errand, stdin: bytes, timeout_s: float) -> None:
    """Return once the command runs, or has ended already; begun twice, it runs once.

    A network that was cut may bring the wish again when the command has long been ended and
    forgotten: without the folder that `prepare` made, nothing is begun.

    Raises:
        PerdureError: it was ended, or was never to be begun.
        TimeoutExpired: what is to run it does not start.
    """
    if not folder.is_dir():
        raise PerdureError("the command was ended before it began")
    if _is_begun(folder):
        return
    given = {"argv": list(errand.argv), "cwd": errand.cwd, "after": list(errand.after)}
    (folder / runner.INPUT).write_bytes(stdin)
    (folder / runner.SPEC).write_text(json.dumps({**given, "timeout_s": timeout_s}))
    words = (sys.executable, "-I", "-S", "-c", _source(), os.fspath(folder))
    log = folder / "runner.log"
    running = spawn_outliving(words, env=errand.environment, cwd=folder, log=log)
    _await_begin(folder, running, log)


def _await_begin(folder: Path, running: Running, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not _is_begun(folder):
        if running.is_over() and not _is_begun(folder):
            said = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise PerdureError("a command cannot be run there", hint=said)
        if time.monotonic() > deadline:
            running.kill()
            raise TimeoutExpired(f"a command did not start within {_START_S:g} s")
        time.sleep(_LOOK_S)


def heard(folder: str, at: int, wait_s: float) -> Values:
    """Return what the command has said since, waiting so long for something new.

    `lines` of its standard error that begin at byte `at`, and the byte `at` which they end; once it
    is over also `end`: see `ending`.
    """
    path = Path(folder)
    deadline = time.monotonic() + wait_s
    while True:
        # Asked before what it wrote is read: all of that is then seen.
        over = not _runs(path)
        data = _piece(path / runner.COMPLAINT, at)
        is_all = len(data) < _MOST_BYTES
        size = data.rfind(b"\n") + 1 if is_all and not over else len(data)
        if size or over or time.monotonic() > deadline:
            break
        time.sleep(_LOOK_S)
    lines = data[:size].replace(b"\r", b"\n").decode("utf-8", "replace").split("\n")
    said: Values = {"lines": [line for line in lines if line.strip()], "at": at + size}
    return {**said, "end": _ending(path)} if over and is_all else said


def end(folder: str) -> None:
    """End the command if it runs, and forget all of it.

    Raises:
        TimeoutExpired: it does not end.
    """
    path = Path(folder)
    if path.is_dir():
        (path / runner.STOP).touch()
        deadline = time.monotonic() + _END_S
        while _runs(path):
            if time.monotonic() > deadline:
                raise TimeoutExpired(f"a command does not end within {_END_S:g} s")
            time.sleep(_LOOK_S)
    shutil.rmtree(path, ignore_errors=True)


def completed(said: Mapping[str, Any], argv: tuple[str, ...], timeout_s: float) -> local.Completed:
    """Return how a command ended, from what was heard at its end. Pure.

    Raises:
        TimeoutExpired: it took too long.
        MissingProgram: it could not be started.
        PerdureError: nobody knows how it ended.
    """
    why = said["why"]
    if why == runner.TOO_LONG:
        raise TimeoutExpired(f"`{' '.join(argv)}` did not end within {timeout_s:g} s")
    if why == runner.FAILED:
        problem = str(said["failed"]).lower()
        raise MissingProgram(f"cannot run `{argv[0]}`: {problem}", program=argv[0])
    if why:
        raise PerdureError(
            f"`{argv[0]}` was ended before it was done", hint="did the machine restart?"
        )
    return local.Completed(argv, said["code"], said["stdout"], said["stderr"])


def _ending(path: Path) -> Values:
    """Return how it ended: `why` it was ended if it was, its `code`, and all that it said."""
    try:
        found: Values = json.loads((path / runner.END).read_bytes())
    except (OSError, ValueError):
        return {"why": "lost"}
    wrote = {"stdout": runner.OUTPUT, "stderr": runner.COMPLAINT}
    return {**found, **{name: (path / file).read_bytes() for name, file in wrote.items()}}


def _is_begun(folder: Path) -> bool:
    return (folder / runner.RUNNER).exists()


def _runs(folder: Path) -> bool:
    """Return whether it is being run: by a process that names this folder, and no end is there."""
    if (folder / runner.END).exists():
        return False
    try:
        pid = int((folder / runner.RUNNER).read_text())
    except (OSError, ValueError):
        return False
    # Between its last word and its own end it has written how it ended.
    return os.fsencode(folder) in processes.command_of(pid)


def _piece(path: Path, at: int) -> bytes:
    """Return what a file has from a byte on, so much of it as goes into one answer."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(_MOST_BYTES)
    except OSError:
        return b""


def _source() -> str:
    """Return the runner's text, wherever this very package has it: on a disk, or in a stream."""
    spec = importlib.util.find_spec(runner.__name__)
    loader = None if spec is None else spec.loader
    assert isinstance(loader, InspectLoader)
    text = loader.get_source(runner.__name__)
    assert text is not None
    return text


def _clear_old(folder: Path) -> None:
    now = time.time()
    for each in folder.glob("*"):
        try:
            is_old = now - each.stat().st_mtime > _OLD_S
        except OSError:
            continue
        if is_old and not _runs(each):
            shutil.rmtree(each, ignore_errors=True)
