"""What every target can do; `jobs` knows nothing else of them.

`plan` is pure and is what `--explain` prints. Everything else may leave the machine, and has a
time limit.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from perdure.model.image import ImageUser
from perdure.model.job import Event, JobRecord, Resources
from perdure.model.report import Report, silent

if TYPE_CHECKING:
    from perdure.hosts.local import Completed
    from perdure.targets.place import Place

Confirmation = Literal["confirmed", "unconfirmed"]


class Presence(Enum):
    """What a target knows of a job: the second witness, after the run folder."""

    RUNNING = "running"
    GONE = "gone"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target said when it was asked; `problem` is why it cannot run jobs, None if it can.

    `hint` is what to do about it, where that is known.
    """

    target: str
    summary: str
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Exactly what would be executed: `environment` lies over what the command finds around it.

    `run_dir` is this machine's; `cwd` and `command` are the training's, as they are called where
    it runs. `owner` is whom the run folder has to belong to, where that is not whoever asks.
    `script` is what `argv` is given on its standard input. `order` is what a machine that is lent
    later is told, beside what is printed.
    """

    key: str
    run_dir: Path
    cwd: Path
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    command: tuple[str, ...]
    owner: ImageUser | None = None
    script: str | None = None
    order: str | None = None

    def text(self) -> str:
        """Return the plan as lines that a shell would take."""
        settings = [f"export {name}={shlex.quote(v)}" for name, v in self.environment.items()]
        if self.script is not None:
            # The script says itself where it runs.
            call = f"{shlex.join(self.argv)} <<'END-OF-SCRIPT'"
            return "\n".join([*settings, call, f"{self.script}END-OF-SCRIPT"])
        # With an owner the command line says itself where it runs: in a container.
        folder = [] if self.owner else [f"cd {shlex.quote(str(self.cwd))}"]
        return "\n".join([*folder, *settings, shlex.join(self.argv)])


@dataclass(frozen=True, slots=True)
class Aside:
    """A command beside a job, where the job runs: `environment` is all that it gets."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """A command in a job's place that is waited for: `environment` is all that it gets.

    `after` is the command that ends what is left where it is killed: its container.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handle:
    """A job on a target. `pid` is its supervisor's where this call started it, else None.

    Where a scheduler starts the supervisor, later and elsewhere, it is the number of its job there.
    """

    target: str
    key: str
    run_dir: Path
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Word that an interruption is coming: why, and by when (unix seconds, None: at once).

    Whoever passes one on means it: a scheduler does not go on with the job by itself.
    """

    reason: str
    deadline: float | None = None


class Target(Protocol):
    """Where jobs are run."""

    @property
    def name(self) -> str:
        """Return the name by which users know it."""

    @property
    def in_image(self) -> bool:
        """Return whether its jobs run in an image, and not in an installed environment."""

    @property
    def place(self) -> Place:
        """Return where the project lies for its jobs; may ask the host."""

    def probe(self) -> Capabilities:
        """Return what it can do, and whether it can be reached."""

    def require(self, resources: Resources, grace_s: float = 0.0) -> None:
        """Return if it can run jobs with these resources, before anything is made for one.

        `grace_s` is what such a job may take to save: a limit of time leaves it more than that.

        Raises:
            UsageError: it cannot limit or give what is asked for.
            EnvironmentFailed: it cannot run jobs just now.
        """

    def plan(self, job: JobRecord) -> Plan:
        """Return what `submit` would execute: the same job gives the same plan. Starts nothing."""

    def verify(self, plan: Plan) -> None:
        """Return if the training's command is there, as far as can be seen without running it.

        Raises:
            MissingProgram: it is not.
        """

    def submit(self, plan: Plan, key: str) -> Handle:
        """Start what was planned, once: a key that is running already is found, not started."""

    def find(self, key: str) -> Handle | None:
        """Return the running job of that key, None where there is none."""

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return the presence of each job by key: one call for all."""

    def logs(self, handle: Handle) -> bytes:
        """Return what the job has written so far, all attempts in order."""

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:
        """Return the exit code of a command run beside the job, with this terminal.

        No words: a shell. Where the job does not run, its folder and environment are there alike.
        """

    def run(
        self,
        job: JobRecord,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        on_line: Callable[[str], None],
        report: Report = silent,
    ) -> Completed:
        """Return how a command ended in a job's folder and environment, without its supervisor.

        A host that does not answer meanwhile is waited for, and `report` is told of it.
        """

    def seen(self, job: JobRecord, path: Path) -> str:
        """Return what a path below the folder of the job's run folder is called where it runs."""

    def forward(self, handle: Handle, port: int) -> int:
        """Return the port of this machine's loopback that reaches `port` where the job runs."""

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Pass on a notice; return at once."""

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Kill it, and return whether it was seen to be gone within the time limit."""

    def signal(self, handle: Handle, pid: int, number: int) -> None:
        """Send a signal to a process of the job, by the id that its events name."""

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:
        """Return how many processes were left of a job whose supervisor is gone; none is now.

        `events` are all of the job's. With a grace they are asked to save first.
        """

    def collect(self, handle: Handle) -> Path:
        """Return the run folder on this machine, brought here where it was elsewhere."""
