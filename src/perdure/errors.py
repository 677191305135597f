"""Every error the command line reports, and its exit code.

    PerdureError                1   anything below; what failed, the value, a hint
    ├── UsageError              2   an argument, a task, a job name, a key in a file
    │   └── NoBucket            2   a provider has no bucket of that name
    ├── ConflictError           3   the job is running already, the folder exists already
    ├── EnvironmentFailed       4   no resolution, no such variant
    │   ├── MissingProgram      4   no uv, no git, no such command
    │   ├── EngineUnreachable   4   no container engine answers
    │   ├── HostUnreachable     4   ssh does not get through to a host
    │   ├── SchedulerUnreachable 4  a cluster's scheduler does not answer
    │   ├── NoPython            4   a host has no Python that is new enough
    │   └── BuildFailed         4   a step of an image's build failed
    ├── StorageError            5   no space, an unwritable folder
    ├── NewerFormatError        6   a file written by a newer perdure
    ├── DifferenceError         7   a drill, a demo or a rerun found another result
    └── TimeoutExpired          8   something outside this process did not answer in time

A followed job ends with the job's own exit code; 75 means interrupted and durable, 76 fenced.
Messages are lower case, literals in backticks, no full stop at the end.
"""

from __future__ import annotations


class PerdureError(Exception):
    """What failed, with the value in it, and a hint that names the next command.

    Without a hint of its own, it is told with the one that is usual for its kind.
    """

    exit_code = 1
    usual_hint = "perdure doctor"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PerdureError):
    """What the user wrote is not possible: an argument, a name, a key in a file."""

    exit_code = 2
    usual_hint = "mend it, and try again"


class NoBucket(UsageError):
    """A provider has no bucket of that name, or has it no more."""


class ConflictError(PerdureError):
    """It is being done already, or something is in the way."""

    exit_code = 3


class EnvironmentFailed(PerdureError):
    """The environment could not be locked or installed."""

    exit_code = 4


class MissingProgram(EnvironmentFailed):
    """A program that is needed is not on this machine."""

    def __init__(self, message: str, *, program: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.program = program
        self.usual_hint = f"install `{program}`, or put it on PATH"


class EngineUnreachable(EnvironmentFailed):
    """No container engine answers."""


class HostUnreachable(EnvironmentFailed):
    """A host does not answer, or does not let this user in."""

    usual_hint = "perdure targets --check"


class SchedulerUnreachable(EnvironmentFailed):
    """The scheduler of a cluster does not answer; its jobs may run all the same."""


class NoPython(EnvironmentFailed):
    """A host has no Python 3.9 or newer."""


class BuildFailed(EnvironmentFailed):
    """A step of an image's build failed; the step's own last words are in the message."""


class StorageError(PerdureError):
    """A folder cannot be written, or a disk is full."""

    exit_code = 5
    usual_hint = "`perdure doctor` looks at disks, and at who may write"


class NewerFormatError(PerdureError):
    """A file was written by a newer perdure than this one."""

    exit_code = 6
    usual_hint = "pip install --upgrade 'perdure[cli]'"


class DifferenceError(PerdureError):
    """Two runs that should have ended alike did not."""

    exit_code = 7
    usual_hint = "`perdure why A B` names what differs"


class TimeoutExpired(PerdureError):
    """Something outside this process did not answer within its time limit."""

    exit_code = 8
    usual_hint = "try again; `perdure doctor` looks at what may be slow"
