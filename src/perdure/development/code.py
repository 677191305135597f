"""The code of a development container on another host: as it is here, before anything runs."""

from __future__ import annotations

from pathlib import Path

from perdure.development.standing import Session
from perdure.model.report import Report

LIMIT_S = 3600.0


def bring_code(session: Session, report: Report) -> None:
    """Have the code there as it is here; nothing for this machine, or where users bring it.

    Raises:
        ConflictError: so many files would be deleted that it looks like an accident.
        StorageError: a file cannot be written.
        HostUnreachable: the host does not answer.
    """
    if not brings(session):
        return
    from perdure.sync.channel import boot_words
    from perdure.sync.once import Destination, synchronise

    place = session.place
    destination = Destination(place.host.command(boot_words()), place.root)
    done = synchronise(
        place.local, destination, state=state_of(session), report=report, timeout_s=LIMIT_S
    )
    for kept in done.kept:
        where = place.local if kept.here else place.root
        report(
            f"warning: `{kept.path}` was changed on both sides; what was on `{place.host.name}` "
            f"is kept as `{where}/{kept.place}`"
        )


def brings(session: Session) -> bool:
    """Return whether the code is brought to the container by perdure."""
    if session.place.is_here:
        return False
    wanted = session.workspace.settings.targets.get(session.place.host.name)
    return wanted is None or wanted.sync == "live"


def state_of(session: Session) -> Path:
    """Return the folder in which is kept what is known to be on the host."""
    return session.project.state / "sync" / session.place.host.name
