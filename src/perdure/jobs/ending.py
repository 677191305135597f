"""What a supervisor would have written down of a job that was killed, done in its place.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from perdure.jobs import folder as folders
from perdure.model.job import State
from perdure.runtime import generation
from perdure.targets import presence
from perdure.targets.protocol import Handle, Target

EXIT_CANCELLED = 130
EXIT_INTERRUPTED = 75


def finish(target: Target, handle: Handle, now: float) -> None:
    """Stop what is left of a job whose supervisor is gone, or never was, and record its end.

    Raises:
        ConflictError: its supervisor lives.
    """
    folder = handle.run_dir
    with presence.held(folder):
        target.sweep(handle, folders.read_history(folder))
        _write_ended(folder, now, State.CANCELLED, "killed", EXIT_CANCELLED)


def interrupted(folder: Path, now: float) -> None:
    """Record that a job whose supervisor is gone was stopped, and that nothing of it is left.

    Raises:
        ConflictError: its supervisor lives.
    """
    with presence.held(folder):
        _write_ended(folder, now, State.INTERRUPTED, "interrupted", EXIT_INTERRUPTED)


def _write_ended(folder: Path, now: float, state: State, reason: str, code: int) -> None:
    number = max([folders.claimed(folder), *folders.attempts(folder)]) or generation.claim(folder)
    path = folders.events_path(folder, number)
    path.parent.mkdir(exist_ok=True)
    ended = {"t": now, "event": "ended", "state": state.value}
    line = json.dumps({**ended, "reason": reason, "code": code})
    with path.open("a+b") as file:
        # A crash may have torn the last line: this one begins on its own.
        torn = file.tell() > 0 and not path.read_bytes().endswith(b"\n")
        file.write(b"\n" * torn + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    # The folder's own time tells the ledger that something happened.
    os.utime(folder)
