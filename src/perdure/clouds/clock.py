"""A bucket's time: by it leases and deadlines are judged, for this machine's own may be wrong."""

from __future__ import annotations

import datetime as dt
import time

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket

# A machine that slept does not know for how long.
_GOOD_S = 60.0


class Clock:
    """What a bucket's clock says: asked at first and now and then, counted on in between."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._asked: tuple[dt.datetime, float] | None = None

    def now(self) -> dt.datetime:
        """Return what time it is. May touch the network: an object is written, and deleted."""
        if self._asked is None or time.monotonic() - self._asked[1] > _GOOD_S:
            self._asked = self._bucket.now(keys.SCRATCH), time.monotonic()
        told, at = self._asked
        return told + dt.timedelta(seconds=time.monotonic() - at)

    def of(self, ours: float | None) -> float | None:
        """Return a time of this machine's clock (unix seconds) by the bucket's; None is none."""
        return None if ours is None else ours + self.now().timestamp() - time.time()
