"""What every target can do; `jobs` knows nothing else of them.

`plan` is pure and is what `--explain` prints. Everything else may leave the machine, and has a
time limit.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal, Protocol

from perdure.model.job import JobRecord

Confirmation = Literal["confirmed", "unconfirmed"]


class Presence(Enum):
    """What a target knows of a job: the second witness, after the run folder."""

    RUNNING = "running"
    GONE = "gone"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target said when it was asked; `problem` is why it cannot run jobs, None if it can."""

    target: str
    summary: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Exactly what would be executed: `environment` lies over what the command finds around it."""

    key: str
    run_dir: Path
    cwd: Path
    argv: tuple[str, ...]
    environment: Mapping[str, str]

    def text(self) -> str:
        """Return the plan as lines that a shell would take."""
        settings = [f"export {name}={shlex.quote(v)}" for name, v in self.environment.items()]
        return "\n".join([f"cd {shlex.quote(str(self.cwd))}", *settings, shlex.join(self.argv)])


@dataclass(frozen=True, slots=True)
class Handle:
    """A job on a target. `pid` is its supervisor's where this call started it, else None."""

    target: str
    key: str
    run_dir: Path
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Word that an interruption is coming: why, and by when (unix seconds, None: at once)."""

    reason: str
    deadline: float | None = None


class Target(Protocol):
    """Where jobs are run."""

    @property
    def name(self) -> str:
        """Return the name by which users know it."""

    def probe(self) -> Capabilities:
        """Return what it can do, and whether it can be reached."""

    def plan(self, job: JobRecord) -> Plan:
        """Return what `submit` would execute. Pure: the same job gives the same plan."""

    def submit(self, plan: Plan, key: str) -> Handle:
        """Start what was planned, once: a key that is running already is found, not started."""

    def find(self, key: str) -> Handle | None:
        """Return the running job of that key, None where there is none."""

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return the presence of each job by key: one call for all."""

    def logs(self, handle: Handle) -> bytes:
        """Return what the job has written so far, all attempts in order."""

    def exec(self, plan: Plan, argv: Sequence[str]) -> int:
        """Return the exit code of a command run beside the job, with this terminal."""

    def forward(self, handle: Handle, port: int) -> int:
        """Return the port of this machine's loopback that reaches `port` where the job runs."""

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Pass on a notice; return at once."""

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Kill it, and return whether it was seen to be gone within the time limit."""

    def collect(self, handle: Handle) -> Path:
        """Return the run folder on this machine, brought here where it was elsewhere."""
