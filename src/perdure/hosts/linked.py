"""What all hosts have in common that are asked over a link: a call, and a command as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

# What starts processes is imported where that is done: see `perdure.hosts.ssh`.
if TYPE_CHECKING:
    from perdure.hosts.local import Completed, LineCallback
    from perdure.hosts.reaching import Linked

P = ParamSpec("P")
R = TypeVar("R")

# What an answer may take on its way, beyond what was allowed for what is asked.
ANSWER_S = 60.0


class LinkedHost:
    """Functions and commands that run on another machine. Who has it is a `Linked`."""

    __slots__ = ()

    @property
    def is_here(self) -> bool:
        """Return that it is another machine."""
        return False

    @property
    def remedy(self: Linked) -> str:
        """Return that the project has another folder there."""
        return f"`root` of `[targets.{self.name}]`: a folder that you may write to there"

    def run(
        self: Linked,
        argv: Sequence[str],
        *,
        timeout_s: float,
        variables: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        on_line: LineCallback | None = None,
    ) -> Completed:
        """Return how a command ended there; see `Host.run`."""
        from perdure.hosts import question
        from perdure.hosts.link import ask
        from perdure.hosts.local import Completed

        given = (list(argv), timeout_s, dict(variables or {}), cwd, stdin)
        done = ask(self, question.run, given, {}, timeout_s + ANSWER_S, on_line)
        return Completed(tuple(argv), done["code"], done["stdout"], done["stderr"])

    def call(self: Linked, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Return what a function of perdure returns there; see `Host.call`."""
        from perdure.hosts.link import ask

        return cast(R, ask(self, function, arguments, named, ANSWER_S))

    def call_long(
        self: Linked,
        function: Callable[..., R],
        *arguments: object,
        timeout_s: float,
        on_line: LineCallback | None = None,
    ) -> R:
        """Return what a function returns there that takes its time; see `Host.call_long`."""
        from perdure.hosts.link import ask

        return cast(R, ask(self, function, arguments, {}, timeout_s, on_line))
