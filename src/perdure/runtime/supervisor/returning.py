"""A supervisor that an engine starts again: after a loss of power, never after the end.

The engine goes by the exit code of what it ran: anything but 0 is started again, at once or when
the engine itself is. So whoever is told that it returns ends with 0 once its job is settled.
"""

from __future__ import annotations

import os

from perdure.runtime import names, settled

# The reason of a notice that came from the system, as it does when an engine or a machine is
# shut down: nobody asked for this job to stop.
BY_SYSTEM = "SIGTERM"


def read_order() -> int | None:
    """Return the generation after which this process was to begin, None where it does not return.

    It is taken out of the environment: it is not for the training.
    """
    text = os.environ.pop(names.RETURNS_AFTER, None)
    return int(text) if text is not None and text.isdigit() else None


def is_settled(run_dir: str, after: int) -> bool:
    """Return whether the job came to an end in an attempt later than `after`. Reads the disk.

    One that the system stopped has not: it goes on when the system is back.
    """
    events = settled.ended(run_dir, after)
    if not events:
        return False
    notices = [event.get("reason") for event in events if event.get("event") == "notice"]
    by_system = bool(notices) and notices[0] == BY_SYSTEM
    return not (by_system and events[-1].get("state") == settled.INTERRUPTED)
