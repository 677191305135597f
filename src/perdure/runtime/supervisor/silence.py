"""Attempts that ended without a word, together with the supervisor that would have told of it.

A node that lost its power leaves such an attempt, and so does a control group that the kernel ends
as a whole for want of memory, as Kubernetes has it do. One that happens again and again is the
job's own doing, and a scheduler that goes on with it would do so for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable

from perdure.runtime import generation as generations
from perdure.runtime import settled

if TYPE_CHECKING:
    from collections.abc import Mapping


def in_a_row(run_dir: str, after: int, most: int) -> int:
    """Return how many of the newest attempts, `most` at the most, ended so and made no progress.

    Attempts up to number `after` do not count. One that ended under a supervisor which went on to
    another attempt neither counts nor ends the row, nor does one that was asked to stop, and had
    not the time to: that was not the job's doing. Reads the disk.
    """
    found = 0
    for number in range(generations.newest(run_dir), after, -1):
        events = settled.events_of(run_dir, number)
        told = {str(event.get("event")) for event in events}
        if "ended" in told or _advanced(events):
            break
        found += told.isdisjoint(("exited", "notice"))
        if found >= most:
            break
    return found


def _advanced(events: Iterable[Mapping[str, object]]) -> bool:
    """Return whether something became durable beyond the step that the attempt began from."""
    start = 0
    for event in events:
        step = event.get("step")
        if not isinstance(step, int):
            continue
        if event.get("event") == "restored":
            start = step
        elif event.get("event") == "durable" and step > start:
            return True
    return False
