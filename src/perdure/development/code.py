"""The code of a development container on another host: kept as it is here while it is up."""

from __future__ import annotations

import contextlib
from pathlib import Path

from perdure.development.standing import Session
from perdure.errors import PerdureError
from perdure.model.report import Report
from perdure.sync import session as live
from perdure.sync.channel import boot_words
from perdure.sync.once import Destination

_START_S = 60.0
_ALIKE_S = 1800.0
# What the last notebooks may take to come back when all is over.
_BACK_S = 15.0
_OURS = "development"


def keep_code(session: Session, report: Report) -> None:
    """Return once the code there is the code here; it is kept so from now on.

    Nothing for this machine, or where users bring their code themselves.

    Raises:
        PerdureError: the sync did not start.
    """
    if not _brings(session):
        return
    place = session.place
    root, name = place.local, place.host.name
    if live.status(root, name) is None:
        report(f"keeping the code on `{name}` as it is here")
        destination = Destination(place.host.python(boot_words()), place.root)
        live.start(root, name, destination, timeout_s=_START_S)
        _mark(session).touch()
    if not live.barrier(root, name, _ALIKE_S):
        report(f"warning: not all of the code is on `{name}`: perdure sync status")


def leave_code(session: Session) -> None:
    """Fetch the notebooks a last time, and end the sync if it was started for the container."""
    mark = _mark(session)
    if session.place.is_here or not mark.exists():
        return
    root, name = session.place.local, session.place.host.name
    # Where nobody is there to end it, or the host does not answer, it ends by itself.
    with contextlib.suppress(OSError, PerdureError):
        live.barrier(root, name, _BACK_S)
        live.stop(root, name)
    mark.unlink(missing_ok=True)


def _brings(session: Session) -> bool:
    if session.place.is_here:
        return False
    wanted = session.workspace.settings.targets.get(session.place.host.name)
    return wanted is None or wanted.sync == "live"


def _mark(session: Session) -> Path:
    return live.Session(session.place.local, session.place.host.name).folder / _OURS
