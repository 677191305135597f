"""The code of a development container on another host: kept as it is here while it is up."""

from __future__ import annotations

from pathlib import Path

from perdure.development.standing import Session
from perdure.model.report import Report
from perdure.sync import ensure
from perdure.sync.channel import boot_words
from perdure.sync.once import Destination
from perdure.sync.rules import Rules
from perdure.sync.session import Session as Sync

_ALIKE_S = 1800.0
_OURS = "development"


def keep_code(session: Session, report: Report) -> None:
    """Return once the code there is the code here; it is kept so from now on.

    Nothing for this machine, or where users bring their code themselves.

    Raises:
        PerdureError: the sync did not start, or what keeps the code from being there.
    """
    if not _brings(session):
        return
    place = session.place
    ensure.keep(
        Sync(place.local, place.host.name),
        Destination(place.host.python(boot_words()), place.root),
        rules=Rules(pull=session.project.pull),
        mark=_mark(session),
        report=report,
        timeout_s=_ALIKE_S,
    )


def leave_code(session: Session) -> None:
    """Fetch the notebooks a last time, and end the sync if it was started for the container."""
    if not session.place.is_here:
        ensure.leave(session.place.local, session.place.host.name, _mark(session))


def _brings(session: Session) -> bool:
    if session.place.is_here:
        return False
    wanted = session.workspace.settings.targets.get(session.place.host.name)
    return wanted is None or wanted.sync == "live"


def _mark(session: Session) -> Path:
    return Sync(session.place.local, session.place.host.name).folder / _OURS
