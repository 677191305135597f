"""This machine as a host."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from perdure.hosts import local
from perdure.hosts.host import HostFacts
from perdure.hosts.local import Completed, LineCallback

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Here:
    """This machine: what is asked of it is done in this process."""

    @property
    def name(self) -> str:
        """Return what users call it."""
        return "local"

    @property
    def is_here(self) -> bool:
        """Return that it is this machine."""
        return True

    @property
    def remedy(self) -> str:
        """Return that the folder is to be one's own."""
        return "a folder that you may write to"

    def command(self, argv: Sequence[str], *, terminal: bool = False) -> tuple[str, ...]:  # noqa: ARG002 - a host's
        """Return the command itself."""
        return tuple(argv)

    def python(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the words with this process's own Python."""
        return (sys.executable, *words[1:])

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
        """Return how a command ended. Starts a process."""
        environment = None if variables is None else {**os.environ, **variables}
        return local.run(
            argv, timeout_s=timeout_s, env=environment, cwd=cwd, stdin=stdin, on_line=on_line
        )

    def attached(
        self,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> int:
        """Return the exit code of a command that has this terminal until it ends."""
        environment = None if variables is None else {**os.environ, **variables}
        return local.run_attached(argv, env=environment, cwd=cwd)

    def call(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Return what the function returns."""
        return function(*arguments, **named)

    def call_long(
        self,
        function: Callable[..., R],
        *arguments: object,
        timeout_s: float,  # noqa: ARG002 - a host's
        on_line: LineCallback | None = None,
    ) -> R:
        """Return what the function returns."""
        told = {} if on_line is None else {"on_line": on_line}
        return function(*arguments, **told)

    def forward(self, port: int) -> int:
        """Return the port itself."""
        return port

    def forward_socket(self, path: str) -> Path:
        """Return the socket itself."""
        return Path(path)

    def probe(self) -> HostFacts:
        """Return what this machine is."""
        from perdure.hosts.side.survey import survey

        began = time.monotonic()
        return facts_of(survey("."), time.monotonic() - began, ahead_s=0.0)


HERE = Here()


def facts_of(found: Mapping[str, object], round_trip_s: float, *, ahead_s: float) -> HostFacts:
    """Return a survey's values as facts. Pure."""
    known = {name: value for name, value in found.items() if name != "time"}
    gpus: tuple[str, ...] = tuple(known.pop("gpus"))  # type: ignore[arg-type]
    return HostFacts(**known, gpus=gpus, clock_ahead_s=ahead_s, round_trip_s=round_trip_s)  # type: ignore[arg-type]
