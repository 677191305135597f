"""How a supervisor starts a child, claims a generation and makes events durable.

One that looks after a single job does each at once, and waits for the disk. One that looks after
many brings its own ways: see `perdure.runtime.supervisor.several`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from perdure.runtime import generation
from perdure.runtime.supervisor import child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perdure.runtime.supervisor.decision import Verdict
    from perdure.runtime.supervisor.events import Events
    from perdure.runtime.supervisor.options import Options


class Ways(NamedTuple):
    """`start` raises CannotStart, `claim` OSError; `settle`, for the end of a job, never raises."""

    start: Callable[[Options, Mapping[str, str], int, int], child.Child]
    claim: Callable[[str], int]
    settle: Callable[[Events, Verdict], None]


def _claim(run_dir: str) -> int:
    return generation.claim(run_dir)


def _settle(events: Events, verdict: Verdict) -> None:  # noqa: ARG001 - the protocol's
    events.sync()


ALONE = Ways(child.start, _claim, _settle)
