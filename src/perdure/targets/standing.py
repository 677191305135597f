"""How a job stands by those who see to it that it runs: a lock, a host, a scheduler.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

from typing import NamedTuple, Optional


class Standing(NamedTuple):
    """Whether a job goes on, without anybody's doing.

    Of one that a scheduler runs, `waits` is why it is in the queue ("": no reason is given; None:
    it is not), `ended` what the scheduler said of the end of one that is gone, or of what ran of it
    before; `asked_at` when it answered last (unix seconds), `problem` why it has not since, ""
    where it has.
    """

    alive: bool
    waits: Optional[str] = None  # noqa: UP045 - Python 3.9
    ended: str = ""
    asked_at: Optional[float] = None  # noqa: UP045 - as above
    problem: str = ""
