"""TensorBoard over what the project's jobs log: live, and with nothing in their code."""

from __future__ import annotations

from perdure.model.report import Report
from perdure.services.program import SOCKET, Program
from perdure.services.side import desk
from perdure.services.spot import Spot

NAME = "tensorboard"
# Its pages look for new points by themselves only where they are told to; half a minute is the
# shortest that they take.
_SCRIPT = (
    'try { const key = "_tb_global_settings"; if (!localStorage.getItem(key)) '
    "localStorage.setItem(key, JSON.stringify({autoReload: true, autoReloadPeriodInMs: 30001})) } "
    "catch (error) {}"
)


def prepare(spot: Spot, report: Report) -> Program:
    """Return TensorBoard for a spot, installed there.

    Raises:
        EnvironmentFailed: it cannot be installed.
    """
    python = f"{spot.tools(NAME, report)}/bin/python"
    events = f"{spot.services}/{NAME}/events"
    words = desk.words_of(
        desk.program_path(spot.root, spot.bring_program()),
        "perdure.services.side.tensorboard",
        *(SOCKET, f"{spot.root}/results", events),
        python=python,
    )
    return Program(argv=tuple(words), cwd=spot.root, script=_SCRIPT)
