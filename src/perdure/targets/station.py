"""Where a project lies on a host, and what runs its jobs there: asked once, then remembered."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from perdure.hosts.host import Host
from perdure.model.settings import TargetSettings
from perdure.model.station import Station
from perdure.targets import far
from perdure.targets.place import folder_name

_FORMAT = 1


def find_station(name: str, local: Path, wanted: TargetSettings, host: Host) -> Station:
    """Return where the project in `local` lies on a host. Asks it the first time.

    Raises:
        HostUnreachable: it does not answer.
    """
    known = known_station(name, local, wanted)
    if known is not None:
        return known
    folder = folder_name(local, wanted.host)
    found = host.call(far.settle, wanted.root, folder, wanted.engine)
    _write(station_file(local, name), {**_asked(wanted), **found})
    return Station(wanted.host, found["root"], found["engine"])


def known_station(name: str, local: Path, wanted: TargetSettings) -> Station | None:
    """Return where the project is remembered to lie on a host, None where it was never asked."""
    known = _read(station_file(local, name))
    if _asked(wanted).items() <= known.items():
        return Station(wanted.host, known["root"], known["engine"])
    return None


def forget_station(local: Path, name: str) -> None:
    """Have a target asked again: it may have got an engine since."""
    station_file(local, name).unlink(missing_ok=True)


def station_file(local: Path, name: str) -> Path:
    """Return where it is remembered, in the project's own state."""
    return local / ".perdure" / "targets" / f"{name}.json"


def _asked(wanted: TargetSettings) -> dict[str, Any]:
    return {"format": _FORMAT, "host": wanted.host, "in": wanted.root, "wanted": wanted.engine}


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    whole = isinstance(found, dict) and {"root", "engine"} <= found.keys()
    return found if whole else {}


def _write(file: Path, content: dict[str, Any]) -> None:
    # It is asked again where it cannot be kept, or where no project is yet.
    if not file.parent.parent.parent.is_dir():
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}-{os.getpid()}")
        draft.write_text(json.dumps(content) + "\n")
        draft.replace(file)
