"""Durations as people write them. Pure.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import re
from typing import Optional

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIMPLE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", re.ASCII)
# As Slurm has it: 2-12:00:00, 08:00:00.
_CLOCK = re.compile(r"(?:(\d{1,5})-)?(\d{1,5}):(\d{2}):(\d{2})", re.ASCII)


def seconds_in(text: str) -> Optional[float]:  # noqa: UP045 - see above
    """Return the seconds in `30`, `90s`, `5m`, `2h`, `30d` or `2-12:00:00`, None for other text."""
    simple = _SIMPLE.fullmatch(text)
    if simple:
        return float(simple[1]) * _UNITS_S[simple[2]]
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return None
    days, hours, minutes, seconds = (int(each or 0) for each in clock.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def clock_words(seconds: float) -> str:
    """Return a duration as Slurm is told it: D-HH:MM:SS, without the days where there are none."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{days}-{clock}" if days else clock
