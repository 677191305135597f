"""How long a scheduler lets a job run at a stretch: long enough to train, and to save. Pure.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import math
from typing import Optional

from perdure.errors import UsageError
from perdure.model.duration import clock_words
from perdure.model.job import Resources
from perdure.model.settings import TargetSettings
from perdure.targets.slurm_script import MARGIN_S


def require_turn(
    wanted: Optional[TargetSettings],  # noqa: UP045 - Python 3.9
    resources: Resources,
    grace_s: float,
) -> None:
    """Return if a job of these settings can train in one turn; None has no limit. Pure.

    Raises:
        UsageError: all of its time is for saving.
    """
    own = None if wanted is None else wanted.slurm or wanted.kubernetes
    if wanted is None or own is None:
        return
    limit_s = own.time_s if resources.time_s is None else resources.time_s
    require_time(limit_s, grace_s, 0 if wanted.slurm is None else MARGIN_S)


def require_time(
    limit_s: Optional[float],  # noqa: UP045 - Python 3.9
    grace_s: float,
    margin_s: int,
) -> None:
    """Return if a limit leaves time to train before the grace, and what it takes besides. Pure.

    Raises:
        UsageError: it does not.
    """
    needed_s = math.ceil(grace_s) + margin_s
    if limit_s is None or limit_s > needed_s:
        return
    parts = f"a grace of {grace_s:g} s" + (f", and {margin_s} s" if margin_s else "")
    raise UsageError(
        f"a time limit of {clock_words(limit_s)} is over before anything is trained: "
        f"{needed_s} s of it are for saving ({parts})",
        hint="a longer --time, or a shorter --grace",
    )
