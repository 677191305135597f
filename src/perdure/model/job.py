"""A job: what was asked, what ran, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Union

# In the syntax of Python 3.9: this module is streamed to other hosts.
EventValue = Union[str, float, bool, list[str], None]  # noqa: UP007 - as above


class State(Enum):
    """Where a job stands. UNKNOWN is no station: its run folder cannot be read by this perdure."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    INTERRUPTED = "INTERRUPTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"
    UNKNOWN = "UNKNOWN"


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
ALIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})

_FROM_ALIVE = ENDED | {State.INTERRUPTED, State.LOST, State.QUEUED}
# The one table of legal transitions. An attempt that crashed goes from RUNNING to STARTING when
# it is tried again; a job that is LOST, INTERRUPTED or ended badly goes to STARTING by `resume`.
# A scheduler puts a job back into its queue when it is interrupted, or its node is lost.
TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.QUEUED: frozenset({State.STARTING, State.INTERRUPTED, State.CANCELLED, State.LOST}),
        State.STARTING: _FROM_ALIVE | {State.RUNNING, State.STOPPING},
        State.RUNNING: _FROM_ALIVE | {State.STARTING, State.STOPPING},
        State.STOPPING: _FROM_ALIVE | {State.STARTING},
        State.INTERRUPTED: frozenset({State.STARTING, State.QUEUED, State.CANCELLED}),
        State.FAILED: frozenset({State.STARTING, State.QUEUED}),
        State.CANCELLED: frozenset({State.STARTING, State.QUEUED}),
        State.LOST: frozenset({State.STARTING, State.QUEUED, State.CANCELLED}),
        State.SUCCEEDED: frozenset(),
        State.UNKNOWN: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class Code:
    """The code that ran: `digest` names its contents, `snapshot` the copy (None: `--live`)."""

    commit: str | None
    dirty: bool
    snapshot: str | None
    files: int
    digest: str


@dataclass(frozen=True, slots=True)
class ImageUsed:
    """The image it ran in, and as whom; `pegged`: the code came from the image too.

    No id: it is not built yet, and is only explained.
    """

    tag: str
    id: str
    user_id: int
    group_id: int
    pegged: bool = False

    @property
    def reference(self) -> str:
        """Return what an engine knows it by: its contents, where they are known."""
        return self.id or self.tag


@dataclass(frozen=True, slots=True)
class EnvironmentUsed:
    """The locked environment it ran in: an image, or a prefix; neither: the machine's Python."""

    lock: str | None
    variant: str | None
    python: str
    prefix: str | None
    image: ImageUsed | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """What a job may use of a machine. None: the target's own way, which is mostly all there is.

    `cpus` may be a part of one; `shm_bytes` is the size of /dev/shm; `time_s` is how long a
    scheduler lets it run at a stretch, in seconds. The rest is of each of its `nodes`.
    """

    gpus: int | Literal["all"] = 0
    memory_bytes: int | None = None
    shm_bytes: int | None = None
    cpus: float | None = None
    time_s: float | None = None
    nodes: int = 1


UNLIMITED = Resources()


@dataclass(frozen=True, slots=True)
class Data:
    """The data folder as it was: names, sizes and times, not contents. `entries` by top level."""

    digest: str
    files: int
    bytes: int
    entries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine it was submitted on; `boot` changes when that restarts."""

    host: str
    os: str
    cpu: str
    cores: int
    memory_gib: float
    gpus: tuple[str, ...]
    boot: str


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of the tools that submitted it."""

    perdure: str
    python: str
    uv: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long it may take to stop, how often a crash is tried again, whose notices are watched."""

    grace_s: float
    retries: int
    watch: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobHeading:
    """What a list says of a job: the folder of run folders, and the job's own line in it."""

    results: Path
    job: str
    task: str
    arguments: tuple[str, ...]
    submitted: str

    @property
    def folder(self) -> Path:
        """Return the run folder."""
        return self.results / self.job

    @property
    def place(self) -> tuple[str, int] | None:
        """Return the sweep that it was made for, and its number there; None: it is no sweep's."""
        return None


@dataclass(frozen=True, slots=True)
class TrialHeading(JobHeading):
    """What a list says of a job that was made for a sweep."""

    sweep: str
    trial: int

    @property
    def place(self) -> tuple[str, int] | None:
        """Return the sweep that it was made for, and its number there."""
        return self.sweep, self.trial


@dataclass(frozen=True, slots=True)
class JobRecord(JobHeading):
    """What was asked, written once: job.json. `variables` are the child's, over the caller's."""

    command: tuple[str, ...]
    seed: int
    code: Code
    environment: EnvironmentUsed
    data: Data
    machine: Machine
    versions: Versions
    limits: Limits
    target: str = "local"
    rerun_of: str | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    resources: Resources = UNLIMITED
    # Of a job of a sweep: its name, and which of its trials this is.
    sweep: str | None = None
    trial: int | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the task's command with its arguments."""
        return self.command + self.arguments

    @property
    def place(self) -> tuple[str, int] | None:
        """Return the sweep that it was made for, and its number there; None: it is no sweep's."""
        return None if self.sweep is None or self.trial is None else (self.sweep, self.trial)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an attempt's events: when (unix seconds), what, and its fields."""

    attempt: int
    at: float
    name: str
    fields: Mapping[str, EventValue]

    def text(self, key: str) -> str:
        """Return a field as text, "" where it is missing."""
        value = self.fields.get(key)
        return "" if value is None else str(value)

    def number(self, key: str) -> int | None:
        """Return a field as a whole number, None where it is missing or none."""
        value = self.fields.get(key)
        return int(value) if isinstance(value, (int, float)) else None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands. Times are unix seconds; `pid` is the training's, None unless it runs.

    `record` has a job's heading; `jobs.folder.read_record(status.record.folder)` has all of it.
    `began_again`: an attempt after the first one found nothing to go on from. `target` is where it
    is; of a job on another host `asked_at` is when that answered last, and `problem` why it has not
    since. Times are by this machine's clock, whatever the other one shows.
    """

    record: JobHeading
    state: State
    reason: str = ""
    attempt: int = 0
    step: int | None = None
    durable_step: int | None = None
    started: float | None = None
    ended: float | None = None
    pid: int | None = None
    began_again: bool = False
    last_event_at: float | None = None
    target: str = "local"
    asked_at: float | None = None
    problem: str = ""
    saved_at: float | None = None


@dataclass(frozen=True, slots=True)
class LogText:
    """A piece of an attempt's output, as it came."""

    attempt: int
    text: str
