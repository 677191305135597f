"""The code of a project where JupyterLab runs: kept as it is here, and its notebooks brought back.

For as long as JupyterLab runs there; a sync that somebody else started is left to them.
"""

from __future__ import annotations

from pathlib import Path

from perdure.model.project import Project
from perdure.model.report import Report
from perdure.services import forwards
from perdure.services.spot import Spot

_ALIKE_S = 600.0
_OURS = "sync"


def keep_code(spot: Spot, name: str, report: Report) -> None:
    """Return once the code there is the code here; it is kept so from now on.

    Nothing for this machine's own targets, or where users bring their code themselves.

    Raises:
        PerdureError: the sync did not start, or what keeps the code from being there.
    """
    if not _brings(spot):
        return
    from perdure.sync import ensure
    from perdure.sync.channel import boot_words
    from perdure.sync.once import Destination
    from perdure.sync.rules import Rules
    from perdure.sync.session import Session

    project = spot.workspace.project
    ensure.keep(
        Session(project.root, spot.name),
        Destination(spot.host.python(boot_words()), spot.root),
        rules=Rules(pull=project.pull),
        mark=_mark(project, spot.name, name),
        report=report,
        timeout_s=_ALIKE_S,
    )


def leave_code(project: Project, target: str, name: str) -> None:
    """Fetch the notebooks a last time, and end the sync that was started for a service."""
    mark = _mark(project, target, name)
    if mark.exists():
        from perdure.sync import ensure

        ensure.leave(project.root, target, mark)


def _brings(spot: Spot) -> bool:
    if spot.place.is_here:
        return False
    wanted = spot.workspace.settings.targets.get(spot.name)
    if spot.in_pod:
        # Jobs have their snapshots; who works in notebooks wants the code as it is.
        return True
    return wanted is None or wanted.sync == "live"


def _mark(project: Project, target: str, name: str) -> Path:
    return forwards.folder_of(project, target, name) / _OURS
