"""The code of a project where JupyterLab runs: kept as it is here, and its notebooks brought back.

For as long as JupyterLab runs there; a sync that somebody else started is left to them.
"""

from __future__ import annotations

from pathlib import Path

from perdure.errors import PerdureError
from perdure.model.project import Project
from perdure.model.report import Report
from perdure.services import forwards
from perdure.services.spot import Spot

_START_S = 60.0
_ALIKE_S = 600.0
# What the last notebooks may take to come back when all is over.
_BACK_S = 15.0
_OURS = "sync"


def keep_code(spot: Spot, name: str, report: Report) -> None:
    """Return once the code there is the code here; it is kept so from now on.

    Nothing for this machine's own targets, or where users bring their code themselves.

    Raises:
        PerdureError: the sync did not start, or what keeps the code from being there.
    """
    if not _brings(spot):
        return
    from perdure.sync import session
    from perdure.sync.channel import boot_words
    from perdure.sync.once import Destination

    root = spot.workspace.project.root
    if session.status(root, spot.name) is None:
        report(f"keeping the code on `{spot.name}` as it is here")
        destination = Destination(spot.host.python(boot_words()), spot.root)
        session.start(root, spot.name, destination, timeout_s=_START_S)
        mark = _mark(spot.workspace.project, spot.name, name)
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch()
    if not session.barrier(root, spot.name, _ALIKE_S):
        report(f"warning: not all of the code is on `{spot.name}` yet")


def leave_code(project: Project, target: str, name: str) -> None:
    """Fetch the notebooks a last time, and end the sync that was started for a service."""
    mark = _mark(project, target, name)
    if not mark.exists():
        return
    from perdure.sync import session

    try:
        session.barrier(project.root, target, _BACK_S)
        session.stop(project.root, target)
    except (OSError, PerdureError):
        pass  # nobody is there to end it, or it ends by itself
    mark.unlink(missing_ok=True)


def _brings(spot: Spot) -> bool:
    if spot.place.is_here:
        return False
    wanted = spot.workspace.settings.targets.get(spot.name)
    return wanted is None or wanted.sync == "live"


def _mark(project: Project, target: str, name: str) -> Path:
    return forwards.folder_of(project, target, name) / _OURS
