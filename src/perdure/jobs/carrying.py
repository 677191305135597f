"""A run folder carried between this machine and another place, with all that it has."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from perdure.clouds.side import checkpoints
from perdure.errors import ConflictError, HostUnreachable
from perdure.hosts import sending
from perdure.jobs import folder as folders
from perdure.model.job import JobRecord
from perdure.model.report import Report
from perdure.runtime import names
from perdure.targets import shelf
from perdure.targets.gathering import gather
from perdure.targets.place import Place
from perdure.targets.protocol import Handle, Presence
from perdure.targets.remote import Remote

#: What says in whose hands a job is.
TICKETS = (names.TICKET_FILE, names.KUBERNETES_FILE)
# Of the host or of this machine, not of the job; and what a start brings by itself.
_LEFT_OUT = frozenset({folders.WITNESS_FILE, names.LOCK_FILE, names.JOB_FILE, *TICKETS})
_ENOUGH_BYTES = 1 << 22


def fetch(place: Place, folder: Path) -> None:
    """Bring a run folder here from a host, its newest checkpoint whole. Touches disk and network.

    Raises:
        HostUnreachable: the host does not answer.
        StorageError: it names files outside of the folder.
    """
    gather(place, folder)
    for name in checkpoints.told(folder):
        found = folder / names.CHECKPOINTS / name
        gather(place, found)
        if checkpoints.is_whole(found):
            return


def send(where: Remote, record: JobRecord, report: Report) -> None:
    """Bring a run folder to a target, in place of what it had there at an earlier stay.

    All but its record: with that it is the host's. Touches disk and network.

    Raises:
        ConflictError: there is another job of that name there, or this one runs there.
        HostUnreachable: the host does not answer.
        StorageError: the disk there refuses.
    """
    folder, place = record.folder, where.place
    with place.writing():
        _require_room(place, record)
        _require_rest(where, record)
        place.host.call(shelf.remove, place.path(folder))
        wanted = list(_wanted(folder))
        for number, name in enumerate(wanted):
            report(f"sending `{record.job}` to `{place.host.name}`", done=number, total=len(wanted))
            sending.send(place.host, folder / name, f"{place.path(folder)}/{name}")


def _require_room(place: Place, record: JobRecord) -> None:
    there = place.path(record.folder)
    try:
        text = place.host.call(shelf.piece, f"{there}/{names.JOB_FILE}", 0, _ENOUGH_BYTES)
        submitted = json.loads(text).get("submitted")
    except FileNotFoundError:
        submitted = record.submitted
    except ValueError:
        submitted = None
    if submitted != record.submitted:
        raise ConflictError(
            f"there is another job `{record.job}` on `{place.host.name}`",
            hint="perdure rerun: it has a name of its own",
        )


def _require_rest(where: Remote, record: JobRecord) -> None:
    """Return if nobody has what an earlier stay has left there. Asks a scheduler there."""
    stands = where.poll([Handle(where.name, record.job, record.folder)])[record.job]
    if stands is Presence.UNREACHABLE:
        raise HostUnreachable(
            f"nobody can say whether `{record.job}` runs on `{where.name}`", hint="try again"
        )
    if stands is Presence.RUNNING:
        raise ConflictError(
            f"job `{record.job}` runs on `{where.name}`, and is `{record.target}`'s",
            hint=f"perdure logs {record.job}",
        )


def _wanted(folder: Path) -> Iterator[str]:
    """Yield the files of a run folder that go along: of checkpoints those of the newest."""
    newest = checkpoints.here(folder)[:1]
    for path, inner, found in os.walk(folder):
        at = Path(path).relative_to(folder)
        if at == Path(names.CHECKPOINTS):
            inner[:] = [each for each in inner if each in newest]
        for name in sorted(found):
            file = Path(path, name)
            if not (file.is_symlink() or (at == Path() and name in _LEFT_OUT)):
                yield (at / name).as_posix()
