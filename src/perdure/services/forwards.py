"""How services of other hosts are reached from here: a process of this machine for each.

    .perdure/services/forwards/<target>.<service>/    as `perdure.services.side.record` has it

It listens on this machine's loopback, and leads to the service's port over the connection that all
commands share; that is made again when it was lost. See `forwarder`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.errors import PerdureError, TimeoutExpired
from perdure.hosts import local
from perdure.model.project import Project
from perdure.model.report import Report
from perdure.services.side import desk, record

if TYPE_CHECKING:
    from perdure.services.opening import Wanted
    from perdure.services.spot import Spot

_FOLDER = "forwards"
_MODULE = "perdure.services.forwarder"
_START_S = 30.0
_STOP_S = 15.0
_POLL_S = 0.05


def reach(
    spot: Spot,
    wanted: Wanted,
    stands: dict[str, Any],
    identity: str,
    ports: list[int],
    report: Report,
) -> int:
    """Return the port of this machine that leads to a service: its own where it is here.

    Raises:
        ConflictError: the port asked for is in use.
    """
    destination = stands["said"].get("destination", getattr(spot.host, "destination", ""))
    if not destination:
        return int(stands["port"])
    folder = folder_of(spot.workspace.project, spot.name, wanted.name)
    before = record.read(folder / record.SPEC)
    leads = record.is_alive(folder) and before.get("there") == stands["port"]
    if leads and wanted.port in (0, before["port"]):
        return int(before["port"])
    stop(spot.workspace.project, spot.name, wanted.name)
    # The one it had last comes first: a page that is still open goes on.
    last = [before["port"]] if before else []
    port = desk.free_port(wanted.port, [*last, *ports])
    report(f"connecting port {port} to `{spot.name}`")
    known: dict[str, Any] = {"name": wanted.name, "target": spot.name, "id": identity}
    known |= {"root": spot.root}
    known |= {"destination": destination, "there": stands["port"], "port": port}
    known |= {"lifetime_s": max(60.0, stands["lifetime_s"] - stands["age_s"])}
    _start(folder, known)
    return port


def folder_of(project: Project, target: str, name: str) -> Path:
    """Return what is kept of a forward. Pure."""
    return project.root / record.SERVICES / _FOLDER / f"{target}.{name}"


def known(project: Project) -> list[dict[str, Any]]:
    """Return what is kept of all forwards, with `alive`. Touches the disk."""
    found = sorted((project.root / record.SERVICES / _FOLDER).glob(f"*/{record.SPEC}"))
    return [{**record.read(path), "alive": record.is_alive(path.parent)} for path in found]


def stop(project: Project, target: str, name: str) -> None:
    """End the process, if there is one."""
    folder = folder_of(project, target, name)
    deadline = time.monotonic() + _STOP_S
    while record.is_alive(folder):
        (folder / record.STOP).touch()
        if time.monotonic() > deadline:
            raise TimeoutExpired(f"the connection of {name} to `{target}` does not end")
        time.sleep(_POLL_S)


def forget(project: Project, target: str, name: str) -> None:
    """Remove what is kept of a forward that has ended."""
    folder = folder_of(project, target, name)
    (folder / record.SPEC).unlink(missing_ok=True)


def _start(folder: Path, spec: dict[str, Any]) -> None:
    desk.prepare(folder)
    for name in (record.STOP, record.STATE, record.LOG):
        (folder / name).unlink(missing_ok=True)
    record.write(folder / record.SPEC, json.dumps(spec) + "\n")
    words = (sys.executable, "-m", _MODULE, str(folder))
    around = {k: v for k, v in os.environ.items() if k != record.VARIABLE}
    pid = local.spawn_detached(words, env=around, cwd="/", log=folder / record.LOG)
    deadline = time.monotonic() + _START_S
    while record.read(folder / record.STATE).get("state") != record.RUNNING:
        if local.exit_code_of(pid) is not None:
            said = record.last_words(folder)
            if not desk.is_free(spec["port"]):
                raise desk.in_use(spec["port"])
            raise PerdureError(f"the connection to `{spec['target']}` was not made", hint=said)
        if time.monotonic() > deadline:
            local.kill_group(pid)
            raise TimeoutExpired(f"no connection to `{spec['target']}` in {_START_S:g} s")
        time.sleep(_POLL_S)
