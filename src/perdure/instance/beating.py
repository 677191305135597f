"""The lease kept while a machine is prepared: before there is a turn that sees to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from perdure.clouds.side.lease import BEATS, Fenced, Lease


@contextlib.contextmanager
def kept(lease: Lease, tick: Callable[[], None]) -> Iterator[None]:
    """Swap the lease as often as it has to be, and call `tick` each time. Touches the network.

    Raises:
        Fenced: another machine has it by the end, or may have it.
    """
    over, fenced = threading.Event(), threading.Event()

    def beat() -> None:
        while not over.wait(lease.ttl_s / BEATS):
            try:
                lease.beat()
                # A disk that is full ends what is prepared, not the lease.
                with contextlib.suppress(OSError):
                    tick()
            except Fenced:
                fenced.set()
                return

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
    if fenced.is_set() or not lease.is_sure():
        raise Fenced(f"another machine has `{lease.job}`")
