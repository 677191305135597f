"""When to save: the interval that wastes least, from what a save costs and how often runs die.

Young's formula (J. W. Young, "A first order approximation to the optimum checkpoint interval",
CACM 1974): with a stall of `s` seconds a save and `lambda` losses a second, sqrt(2 s / lambda).
lambda is learnt: a Gamma prior worth one event in four hours, updated with the run's own history.
Only interruptions that came without notice count, since a notice loses nothing.
"""

from __future__ import annotations

import math

PRIOR_EVENTS = 1.0
PRIOR_S = 4 * 3600.0
# Never closer together than this multiple of the time a write takes: the disk is not ours alone.
WRITE_SHARE = 1.25
FLOOR_S = 1.0
CEILING_S = 1800.0


def rate(events: float, observed_s: float) -> float:
    """Return the expected number of unannounced interruptions a second."""
    return (PRIOR_EVENTS + events) / (PRIOR_S + max(0.0, observed_s))


def best(stall_s: float, write_s: float, per_s: float) -> float:
    """Return the interval in seconds for a stall, a write and a rate of interruptions."""
    young = math.sqrt(2.0 * max(stall_s, 0.0) / per_s)
    return min(CEILING_S, max(FLOOR_S, WRITE_SHARE * write_s, young))


class Interval:
    """When the next save is due; knows the last costs, and learns."""

    def __init__(
        self, fixed_s: float = 0.0, *, events: float = 0.0, observed_s: float = 0.0
    ) -> None:
        self.fixed_s = fixed_s
        self.events = events
        self.observed_s = observed_s
        self.stall_s = 0.05
        self.write_s = 0.5
        self.last = 0.0

    def start(self, now: float) -> None:
        """Begin to count from `now`, in seconds of a monotonic clock."""
        self.last = now

    def seconds(self) -> float:
        """Return the interval in force."""
        if self.fixed_s > 0:
            return self.fixed_s
        return best(self.stall_s, self.write_s, rate(self.events, self.observed_s))

    def due(self, now: float) -> bool:
        """Say whether a save is due."""
        return now - self.last >= self.seconds()

    def saved(self, now: float, stall_s: float) -> None:
        """Note that a snapshot was taken, and how long the training waited for it."""
        self.observed_s += now - self.last
        self.last = now
        self.stall_s = stall_s

    def written(self, write_s: float) -> None:
        """Note how long the snapshot took to be durable."""
        self.write_s = write_s
