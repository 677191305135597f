"""Live sessions of this machine: one for each project and target, in a process of its own.

Others ask it through its socket: whether both sides are alike by now, how it stands, to stop.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perdure.errors import PerdureError, TimeoutExpired
from perdure.hosts import local
from perdure.hosts.ssh_folder import control_folder
from perdure.sync.control import ask, is_served
from perdure.sync.once import Destination
from perdure.sync.rules import DEFAULT, Rules

DESCRIPTION = "session.json"
# How the last words of a session begin.
ENDED = "ended"
_ASK_S = 5.0
_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Session:
    """Where the session of a project and a target keeps what it knows, and is asked."""

    root: Path
    target: str

    @property
    def folder(self) -> Path:
        """Return the folder of what both sides are known to have."""
        return self.root / ".perdure" / "sync" / self.target

    @property
    def state(self) -> Path:
        """Return the file of what is known."""
        return self.folder / "state.db"

    @property
    def log(self) -> Path:
        """Return the file of what was told."""
        return self.folder / "log"

    @property
    def socket(self) -> Path:
        """Return the socket, in a folder with a name short enough for one."""
        name = hashlib.sha256(f"{self.root}\0{self.target}".encode("utf-8", "surrogateescape"))
        return control_folder() / f"{name.hexdigest()[:16]}.y"


def start(
    root: Path,
    target: str,
    destination: Destination,
    *,
    rules: Rules = DEFAULT,
    timeout_s: float,
) -> bool:
    """Return whether a session was started, once one runs; one that does already is left as it is.

    It need not be connected yet: `barrier` waits for that. A sync that is being done once is let
    finish first.

    Raises:
        PerdureError: it ended at once, and why.
        TimeoutExpired: it does not begin in time.
    """
    session = Session(root, target)
    if runs(root, target):
        return False
    session.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    described = {"project": str(root), "target": target, "wait_s": timeout_s}
    described |= {**asdict(destination), **asdict(rules)}
    (session.folder / DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
    session.log.unlink(missing_ok=True)
    words = (sys.executable, "-m", "perdure.sync.service", os.fspath(session.folder))
    pid = local.spawn_detached(words, log=session.folder / "output")
    deadline = time.monotonic() + timeout_s
    while not runs(root, target):
        if local.exit_code_of(pid) is not None:
            raise PerdureError(f"the sync did not start: {_last_words(session)}")
        if time.monotonic() > deadline:
            local.kill_group(pid)
            raise TimeoutExpired(f"the sync did not start within {timeout_s:g} s")
        time.sleep(_POLL_S)
    return True


def runs(root: Path, target: str) -> bool:
    """Return whether a session runs, however busy it is."""
    return is_served(Session(root, target).socket)


def barrier(root: Path, target: str, timeout_s: float) -> bool | None:
    """Return True once the code there is the code here; None where no session runs.

    False: it was not in time, or some files cannot be brought there (`status` says which).
    """
    question = {"ask": "barrier", "timeout_s": timeout_s}
    try:
        answer = ask(Session(root, target).socket, question, timeout_s + _ASK_S)
    except TimeoutExpired:
        return False
    return None if answer is None else bool(answer.get("alike"))


def status(root: Path, target: str) -> dict[str, Any] | None:
    """Return how the session stands, None where none runs.

    Raises:
        TimeoutExpired: it is busy.
    """
    return ask(Session(root, target).socket, {"ask": "status"}, _ASK_S)


def stop(root: Path, target: str) -> bool:
    """Return whether a session ran; it has ended by now.

    Raises:
        TimeoutExpired: it is busy.
    """
    return ask(Session(root, target).socket, {"ask": "stop"}, _ASK_S) is not None


def last_words(root: Path, target: str) -> str:
    """Return why a session has ended; waits a moment for it to say so."""
    session = Session(root, target)
    deadline = time.monotonic() + _ASK_S
    while not (said := _last_words(session)).startswith(ENDED):
        if time.monotonic() > deadline:
            return "its session is gone"
        time.sleep(_POLL_S)
    return said.removeprefix(ENDED).lstrip(": ") or "somebody ended it"


def _last_words(session: Session) -> str:
    for file in (session.log, session.folder / "output"):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            continue
        if lines:
            # Each line of the log begins with its time.
            return lines[-1].partition(" ")[2] if file == session.log else lines[-1]
    return "it says nothing"
