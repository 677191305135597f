"""What is asked of a target about its services: start one, look at them, stop them.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from perdure.environments.exclusive import alone, if_alone
from perdure.errors import ConflictError, EnvironmentFailed, TimeoutExpired
from perdure.hosts import processes
from perdure.hosts.side.outliving import Running, spawn_outliving
from perdure.services.side import record

_START_S = 150.0
_STOP_S = 30.0
_POLL_S = 0.05
_PROGRAM = "keeper-{digest}.zip"
# Run there: the modules come from a zip, and slots=True is of Python 3.10.
_BOOT = """
import dataclasses, sys
sys.path.insert(0, sys.argv[1])
if sys.version_info < (3, 10):
    def dataclass(cls=None, *, plain=dataclasses.dataclass, slots=False, kw_only=False, **options):
        return plain(cls, **options) if cls else lambda found: plain(found, **options)
    dataclasses.dataclass = dataclass
import importlib
sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3:]))
"""

Values = dict[str, Any]


def has_program(root: str, digest: str) -> bool:
    """Return whether the modules of that digest lie there."""
    return program_path(root, digest).is_file()


def bring_program(root: str, digest: str, packed: bytes) -> None:
    """Write the modules, which a service runs on: they outlive the connection."""
    path = program_path(root, digest)
    prepare(path.parent)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    draft.write_bytes(packed)
    draft.replace(path)
    # Those of earlier versions, unless something may still run on one.
    if not any(record.is_alive(each) for each in path.parent.iterdir() if each.is_dir()):
        for other in set(path.parent.glob(_PROGRAM.format(digest="*"))) - {path}:
            other.unlink(missing_ok=True)


def program_path(root: str, digest: str) -> Path:
    """Return where modules lie."""
    return Path(root).expanduser() / record.SERVICES / _PROGRAM.format(digest=digest)


def words_of(program: Path, module: str, *words: str, python: str | None = None) -> list[str]:
    """Return the command that runs a module of the program, isolated from what is around. Pure."""
    isolated = ["-I"] if python else ["-I", "-S"]
    return [python or sys.executable, *isolated, "-c", _BOOT, os.fspath(program), module, *words]


def prepare(folder: Path) -> None:
    """Make a folder of the project's own state that only this user enters."""
    state = next(each for each in (folder, *folder.parents) if each.name == ".perdure")
    state.mkdir(parents=True, exist_ok=True)
    hidden = state / ".gitignore"
    if not hidden.exists():
        hidden.write_text("*\n")
    for each in (state / "services", folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)


def look(root: str) -> list[Values]:
    """Return how the living services of a project stand: see `describe`.

    What the keeper of a dead one could not end any more is ended now.
    """
    folder = Path(root).expanduser() / record.SERVICES
    living = []
    for each in sorted(path.parent for path in folder.glob(f"*/{record.SPEC}")):
        if record.is_alive(each):
            living.append(describe(each))
        elif record.read(each / record.STATE).get("state") != record.ENDED:
            _sweep_dead(each)
    return living


def describe(folder: Path) -> Values:
    """Return how a living service stands, its token and its age with it."""
    state, spec = record.read(folder / record.STATE), record.read(folder / record.SPEC)
    now = time.time()
    return {
        "name": folder.name,
        "id": spec.get("id", ""),
        "state": state.get("state", record.STARTING),
        "port": state.get("port", 0),
        "token": record.token_of(folder),
        "age_s": max(0.0, now - state.get("began", now)),
        "idle_s": max(0.0, now - state.get("used", now)),
        "lifetime_s": spec.get("lifetime_s", 0.0),
        "limit_s": spec.get("idle_s", 0.0),
        "path": spec.get("path", "/"),
        "said": spec.get("said", {}),
    }


def start(root: str, name: str, spec: Values, digest: str) -> Values:
    """Return how the service stands: started now, or as it was found (`found`).

    Raises:
        ConflictError: the port that the specification names is in use.
        EnvironmentFailed: the program ended at once; its last words are in the message.
        TimeoutExpired: it does not answer.
    """
    folder = record.folder_of(root, name)
    prepare(folder)
    with alone(_starting_lock(folder), f"starting {name}", _say_nothing):
        if record.is_alive(folder):
            return {**_await_running(folder, None), "found": True}
        _sweep(folder)
        port = free_port(spec["port"], spec["ports"])
        _write(folder, {**spec, "port": port})
        around = {k: v for k, v in os.environ.items() if k != record.VARIABLE}
        words = words_of(program_path(root, digest), "perdure.services.side.keeper", str(folder))
        running = spawn_outliving(words, env=around, cwd=folder, log=folder / record.LOG)
        return {**_await_running(folder, running), "found": False}


def _say_nothing(message: str, *, done: int | None = None, total: int | None = None) -> None:
    """Take no notice."""


def stop(root: str, name: str) -> bool:
    """Return whether there was a service to stop; nothing of it is left.

    Raises:
        TimeoutExpired: it does not end.
    """
    folder = record.folder_of(root, name)
    ran = False
    deadline = time.monotonic() + _STOP_S
    while (left := _sweep_dead(folder)) is None:
        if record.is_alive(folder):
            ran = True
            (folder / record.STOP).touch()
        if time.monotonic() > deadline:
            raise TimeoutExpired(f"{name} does not end within {_STOP_S:g} s")
        time.sleep(_POLL_S)
    return ran or left


def _starting_lock(folder: Path) -> Path:
    """Return the file that is locked by whoever starts the service."""
    return folder.with_name(f"{folder.name}.lock")


def free_port(wanted: int, ports: list[int]) -> int:
    """Return a port of the loopback that is free: the one wanted, else the first of `ports`, or 0.

    Raises:
        ConflictError: the one wanted is in use.
    """
    if wanted:
        if not is_free(wanted):
            raise in_use(wanted)
        return wanted
    return next((port for port in ports if is_free(port)), 0)


def is_free(port: int) -> bool:
    """Return whether a server could take the port."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def in_use(port: int) -> ConflictError:
    """Return the error for a port that somebody else has."""
    return ConflictError(f"port {port} is in use", hint="another one: --port N")


def _clear(private: Path) -> None:
    """Remove the folder of a socket, if it is one that a keeper made."""
    if private.name.startswith("perdure-") and (private / "s").is_socket():
        shutil.rmtree(private, ignore_errors=True)


def _write(folder: Path, spec: Values) -> None:
    for name in (record.STATE, record.STOP, record.LOG):
        (folder / name).unlink(missing_ok=True)
    os.close(os.open(folder / record.LOG, os.O_WRONLY | os.O_CREAT, 0o600))
    for path, text in spec["files"].items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        record.write(file, text)
    shared = [path for path in (folder.parent, folder.parent / "tools") if path.is_dir()]
    record.give([*shared, folder, *folder.rglob("*")], spec["owner"])
    record.write(folder / record.TOKEN, secrets.token_urlsafe(32) + "\n")
    record.write(folder / record.SPEC, json.dumps(spec) + "\n")


def _await_running(folder: Path, running: Running | None) -> Values:
    deadline = time.monotonic() + _START_S
    while True:
        state = record.read(folder / record.STATE).get("state")
        if state == record.RUNNING:
            return describe(folder)
        over = state == record.ENDED or (running is not None and running.is_over())
        if over or (running is None and not record.is_alive(folder)):
            why = record.read(folder / record.STATE).get("why") or "it ended"
            said = record.last_words(folder)
            raise EnvironmentFailed(
                f"{folder.name} did not start: {why}" + (f":\n{said}" if said else ""),
                hint=f"all that it said: {folder / record.LOG}",
            )
        if time.monotonic() > deadline:
            raise TimeoutExpired(f"{folder.name} does not answer after {_START_S:g} s")
        time.sleep(_POLL_S)


def _sweep_dead(folder: Path) -> bool | None:
    """Return what `_sweep` does; None where the keeper lives, or somebody is just starting it.

    Between its specification and its keeper's lock a service looks like one that was killed.
    """
    if not (folder / record.SPEC).exists():
        return False
    with if_alone(_starting_lock(folder)) as nobody_starts:
        if not nobody_starts or record.is_alive(folder):
            return None
        return _sweep(folder)


def _sweep(folder: Path) -> bool:
    """End what a keeper left that was killed; return whether there was anything."""
    if not (folder / record.SPEC).exists():
        return False
    path = os.fspath(folder)
    left = processes.kill_all(lambda: processes.carrying(record.VARIABLE, path)) > 0
    record.run_after(record.read(folder / record.SPEC))
    state = record.read(folder / record.STATE)
    if state.get("state") != record.ENDED:
        _clear(Path(state.get("private", "")))
        ended = {**state, "state": record.ENDED, "why": "its keeper was killed"}
        record.write(folder / record.STATE, json.dumps(ended) + "\n")
    return left
