"""How long a scheduler lets a job run at a stretch: long enough to train, and to save. Pure.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import math
from typing import Optional

from perdure.errors import UsageError
from perdure.model.duration import clock_words


def require_time(
    limit_s: Optional[float],  # noqa: UP045 - Python 3.9
    grace_s: float,
    margin_s: int,
    *,
    whose: str = "a",
) -> None:
    """Return if a limit leaves time to train before the grace, and what it takes besides. Pure.

    None is no limit; `whose` it is, is said of one that nobody asked for.

    Raises:
        UsageError: it does not.
    """
    needed_s = math.ceil(grace_s) + margin_s
    if limit_s is None or limit_s > needed_s:
        return
    parts = f"a grace of {grace_s:g} s" + (f", and {margin_s} s" if margin_s else "")
    raise UsageError(
        f"{whose} time limit of {clock_words(limit_s)} is over before anything is trained: "
        f"{needed_s} s of it are for saving ({parts})",
        hint="a longer --time, or a shorter --grace",
    )
