"""One process or several: who claims, who commits, and at which step all of them act.

`Solo` is a run of one process. A group of ranks has the same methods (see `group.py`).
"""

from __future__ import annotations

from typing import Callable, Dict, Mapping, Optional, Protocol

from perdure.runtime import generation
from perdure.runtime.faults import MismatchError
from perdure.runtime.store import Loaded, Store

# What a boundary can ask for; a stop outweighs a save.
SAVE = "save"
STOP = "stop"


class Ranks(Protocol):
    """What a run needs of the processes that train together."""

    rank: int
    world: int

    def share(self, text: str) -> str:
        """Return rank 0's text, in every rank."""
        ...

    def latest(self, store: Store, warn: Callable[[str], None]) -> Optional[Loaded]:
        """Return the newest checkpoint that verifies in every rank; None where there is none.

        Raises:
            MismatchError: it was written by another number of ranks.
        """
        ...

    def claim(self, run_dir: str, given: Optional[int]) -> int:
        """Return the generation of this attempt, the same in every rank."""
        ...

    def agree(self, step: int, wanted: Optional[str]) -> Optional[str]:
        """Return what all ranks do at this boundary; every rank gets the same at the same step."""
        ...

    def commit(self, store: Store, step: int, write: Callable[[str], Dict[str, object]]) -> str:
        """Make a checkpoint durable in which every rank has written its part; return its name."""
        ...

    def finish(self) -> None:
        """Note that this rank has passed its last boundary."""
        ...


class Solo:
    """A run of one process."""

    rank = 0
    world = 1

    def share(self, text: str) -> str:
        """Return the text."""
        return text

    def latest(self, store: Store, warn: Callable[[str], None]) -> Optional[Loaded]:
        """Return the newest checkpoint that verifies."""
        loaded = store.latest(warn)
        if loaded is not None:
            check_world(loaded.meta, self.world)
        return loaded

    def claim(self, run_dir: str, given: Optional[int]) -> int:
        """Return the generation the supervisor claimed, else claim one."""
        return generation.claim(run_dir) if given is None else given

    def agree(self, step: int, wanted: Optional[str]) -> Optional[str]:
        """Return what is wanted: there is nobody to ask."""
        del step
        return wanted

    def commit(self, store: Store, step: int, write: Callable[[str], Dict[str, object]]) -> str:
        """Write, then publish; whatever fails leaves nothing behind."""
        path = store.begin(step)
        try:
            store.write_meta(path, write(path))
            return store.publish(path, step)
        except BaseException:
            store.abandon(path)
            raise

    def finish(self) -> None:
        """Nobody waits."""


def check_world(meta: Mapping[str, object], world: int) -> None:
    """Return if a checkpoint was written by this many ranks.

    Raises:
        MismatchError: it was written by another number of them.
    """
    versions = meta["versions"]
    before = versions.get("world") if isinstance(versions, dict) else None
    if before != world:
        raise MismatchError(
            f"the checkpoint was written by {before} ranks, now there are {world}",
            "resume with the same number of processes",
        )
