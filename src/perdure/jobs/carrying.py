"""A run folder carried between this machine and another place, with all that it has."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from perdure.clouds.side import checkpoints
from perdure.errors import ConflictError, HostUnreachable, PerdureError, StorageError
from perdure.hosts import sending
from perdure.jobs import folder as folders
from perdure.jobs import there
from perdure.model.job import JobRecord
from perdure.model.report import Report
from perdure.model.station import inside
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
_PART = ".perdure-part"
_STATE = ".perdure"
_ENOUGH_BYTES = 1 << 22


def fetch(place: Place, folder: Path, report: Report) -> None:
    """Bring a run folder here from a host, its newest checkpoint whole. Touches disk and network.

    Links that lead out of it are left out, and told.

    Raises:
        HostUnreachable: the host does not answer.
        StorageError: it names files outside of the folder.
    """
    gather(place, folder)
    links = place.host.call(shelf.links, place.path(folder))
    shelf.make_links(str(folder), _staying(links, report))
    for name in checkpoints.told(folder):
        found = folder / names.CHECKPOINTS / name
        gather(place, found)
        if checkpoints.is_whole(found):
            return


def send(where: Remote, record: JobRecord, report: Report) -> None:
    """Bring a run folder to a target, in place of what it had there at an earlier stay.

    All but its record: with that it is the host's. It has its name there once all of it is there.
    Touches disk and network.

    Raises:
        ConflictError: there is another job of that name there, or this one runs there.
        HostUnreachable: the host does not answer.
        StorageError: a disk refuses, here or there.
    """
    folder, place = record.folder, where.place
    final, part = place.path(folder), place.path(folder.with_name(f".{folder.name}{_PART}"))
    with place.writing():
        _require_room(place, record)
        _require_rest(where, record)
        # Both: what cannot be removed would pass for what was sent.
        for each in (final, part):
            place.host.call(shelf.clear, each)
        place.host.call(shelf.make, [part])
        wanted = list(_wanted(folder))
        for number, name in enumerate(wanted):
            report(f"sending `{record.job}` to `{place.host.name}`", done=number, total=len(wanted))
            sending.send(place.host, folder / name, f"{part}/{name}")
        links = _staying(shelf.links(str(folder)), report)
        place.host.call(shelf.make_links, part, links)
        place.host.call(shelf.move, part, final)


def are_one(one: Place, other: Place) -> bool:
    """Return whether two places are the same folder, whatever they and their hosts are called.

    Told by a mark: names of hosts, links and file systems that are shared cannot deceive it.
    Touches disk and network.

    Raises:
        HostUnreachable: a host does not answer.
        StorageError: a disk refuses.
    """
    mark = f"{_STATE}/mark-{secrets.token_hex(8)}"
    with one.writing():
        one.host.call(shelf.make, [f"{one.root}/{_STATE}"])
        one.host.call(shelf.touch, f"{one.root}/{mark}")
    try:
        return other.host.call(shelf.has, f"{other.root}/{mark}")
    finally:
        with one.writing():
            one.host.call(shelf.drop, f"{one.root}/{mark}")


def release(place: Place, folder: Path, claimed: int) -> None:
    """Have a host have no such job any more; its files stay. Touches disk and network.

    Raises:
        ConflictError: it runs there, or has run since it had claimed that generation.
        HostUnreachable: the host does not answer.
        StorageError: the disk there refuses.
    """
    with place.writing():
        place.host.call(there.release, place.root, place.name(folder), claimed)


def remove(place: Place, folder: Path, report: Report) -> None:
    """Remove what a host still has of a job that has gone; what cannot be removed is told.

    Touches disk and network.
    """
    try:
        place.host.call(shelf.clear, place.path(folder))
    except (PerdureError, OSError) as error:
        why = error.message if isinstance(error, PerdureError) else str(error)
        report(f"warning: `{place.host.name}` keeps what it had of `{folder.name}`: {why}")


def _staying(links: Sequence[Sequence[str]], report: Report) -> list[list[str]]:
    """Return the links that lead to something of their run folder; the others are told.

    Raises:
        StorageError: one lies outside of the folder itself.
    """
    kept = []
    for name, to in links:
        if shelf.stays(inside(name).as_posix(), to):
            kept.append([name, to])
        else:
            report(f"warning: the link `{name}` leads out of the run folder: left out (`{to}`)")
    return kept


def _require_room(place: Place, record: JobRecord) -> None:
    file = f"{place.path(record.folder)}/{names.JOB_FILE}"
    try:
        text = place.host.call(shelf.piece, file, 0, _ENOUGH_BYTES)
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
    """Yield the files of a run folder that go along: of checkpoints those of the newest.

    Raises:
        StorageError: a folder of it cannot be read.
    """
    newest = checkpoints.here(folder)[:1]
    for path, inner, found in os.walk(folder, onerror=_refuse):
        at = Path(path).relative_to(folder)
        if at == Path(names.CHECKPOINTS):
            inner[:] = [each for each in inner if each in newest]
        for name in sorted(found):
            file = Path(path, name)
            if not (file.is_symlink() or (at == Path() and name in _LEFT_OUT)):
                yield (at / name).as_posix()


def _refuse(error: OSError) -> None:
    why = (error.strerror or str(error)).lower()
    raise StorageError(f"cannot read `{error.filename}`: {why}") from error
