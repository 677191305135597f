"""Waiting for something that real processes bring about: one patience for all tests.

A machine that others use is slow at times, and whoever sees early what it waits for loses nothing
by its patience: so it is long, and never the thing that is tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0


def until(
    true: Callable[[], object],
    *,
    told: Callable[[], object] = lambda: "waited in vain",
    every_s: float = 0.02,
    patience_s: float = PATIENCE_S,
) -> None:
    """Return as soon as it is true; fail with what `told` returns where it does not become so."""
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(told())
        time.sleep(every_s)
