"""What every host can do: this machine, and those that ssh reaches, are used alike.

A target says what is to be done; its host does it where the job runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from perdure.hosts.local import Completed, LineCallback

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host said when it was asked.

    `python` is its version there, "" where there is none; sizes are in bytes, times in seconds.
    """

    system: str
    python: str
    user: str
    home: str
    cores: int
    memory_bytes: int
    disk_free_bytes: int
    gpus: tuple[str, ...]
    clock_ahead_s: float
    round_trip_s: float


class Host(Protocol):
    """Where a command can be run."""

    @property
    def name(self) -> str:
        """Return what users call it."""

    @property
    def is_here(self) -> bool:
        """Return whether it is this machine."""

    @property
    def remedy(self) -> str:
        """Return what to change where a project's folder there cannot be written. Pure."""

    def command(self, argv: Sequence[str], *, terminal: bool = False) -> tuple[str, ...]:
        """Return the command of this machine that runs `argv` there. Pure.

        For streams and terminals. It shows in the list of processes: nothing secret is in it.
        """

    def python(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command of this machine that runs `python3 ...` there, for a pipe of bytes.

        Where the host has no Python, it is one of an image's.

        Raises:
            HostUnreachable: the host does not answer.
            NoPython: there is none at all.
        """

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        variables: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        on_line: LineCallback | None = None,
    ) -> Completed:
        """Return how a command ended there; any exit code of its own is an answer.

        `variables` lie over the environment it finds; they never show in an argument list.

        Raises:
            HostUnreachable: the host does not answer.
            TimeoutExpired: the command took too long.
            MissingProgram: there is no such program there.
        """

    def attached(
        self,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> int:
        """Return the exit code of a command there that has this terminal until it ends."""

    def call(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Return what a function of perdure returns there.

        It is a function of a module that `perdure.hosts.side.modules` names; arguments and what
        it returns are values of JSON, bytes aside, and its errors are perdure's.

        Raises:
            HostUnreachable: the host does not answer.
            Others: as the function.
        """

    def call_long(
        self,
        function: Callable[..., R],
        *arguments: object,
        timeout_s: float,
        on_line: LineCallback | None = None,
    ) -> R:
        """Return what a function returns there that takes its time, and tells of it by lines.

        With `on_line` the function takes that as well. Raises as `call`.
        """

    def forward(self, port: int) -> int:
        """Return a port of this machine's loopback that reaches `port` of the host's."""

    def forward_socket(self, path: str) -> Path:
        """Return a unix socket of this machine that reaches one of the host."""

    def probe(self) -> HostFacts:
        """Return what the host is.

        Raises:
            HostUnreachable: it does not answer.
        """
