"""A group of ranks in one process: a thread each, and torch's store in memory between them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from perdure.runtime.exchange import Exchange
from perdure.runtime.group import Group
from tests.runtime.memory_store import hash_store

WORLD = 3


class Ranks:
    """A group of three in one process, over torch's store in memory."""

    def __init__(self, limit_s: float = 5.0, **environ: str) -> None:
        self.store = hash_store()
        environ.setdefault("TORCHELASTIC_USE_AGENT_STORE", "True")
        self.groups = [
            Group(Exchange(self.store, rank, WORLD, limit_s), environ) for rank in range(WORLD)
        ]

    def each(self, call: Callable[[Group], object]) -> list[object]:
        """Return what a call gives in each rank, or what it raised."""
        found: dict[int, object] = {}

        def body(one: Group) -> None:
            try:
                found[one.rank] = call(one)
            except (RuntimeError, OSError) as error:
                found[one.rank] = error

        threads = [threading.Thread(target=body, args=(one,)) for one in self.groups]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[rank] for rank in range(WORLD)]

    def close(self) -> None:
        self.each(lambda one: one.close())
