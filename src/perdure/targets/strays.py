"""Processes of this machine that a dead supervisor left: they would go on writing, hold GPUs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from perdure.hosts import processes
from perdure.hosts.machine import boot_id
from perdure.model.job import Event
from perdure.runtime import names

_POLL_S = 0.02


def stop_strays(
    folder: Path,
    events: Iterable[Event],
    *,
    grace_s: float = 0.0,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Return how many processes of the job were still there; none is left. Signals processes.

    They are found by the run folder they carry, or, where they no longer show it, by the id and
    the start recorded for this boot of the machine. With a grace they are asked to save first.

    Raises:
        PerdureError: some cannot be killed.
    """
    run_dir = os.fspath(folder)
    found = processes.carrying(names.RUN_DIR, run_dir)
    if grace_s > 0 and found:
        _ask(found)
        deadline = time.monotonic() + grace_s
        while processes.carrying(names.RUN_DIR, run_dir) and time.monotonic() < deadline:
            pause(_POLL_S)
    boot = boot_id()
    for event in events:
        pgid, ticks = event.number("pgid"), event.number("start_ticks")
        if event.name == "started" and event.text("boot") == boot and pgid and ticks:
            processes.kill_started(pgid, ticks)
    processes.kill_all(lambda: processes.carrying(names.RUN_DIR, run_dir))
    return len(found)


def _ask(found: Iterable[int]) -> None:
    for pid in found:
        try:
            os.kill(pid, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            continue
