"""Words that the ranks of a run leave for each other, in the key-value store of torchrun.

Every call returns at once or within a limit: waiting is done by looking, because a wait that times
out inside torch's TCPStore prints a stack trace, and one that blocks cannot be ended at exit.
"""

from __future__ import annotations

import importlib
import threading
import time
from datetime import timedelta
from types import ModuleType
from typing import Dict, List, Mapping, Protocol

from perdure.runtime.faults import GroupError, MisuseError

# How long ranks may be apart: at start, or when one is in a long validation while others wait.
LIMIT_S = 600.0
_CONNECT = timedelta(seconds=300)
# Looking begins often and becomes rare: an answer is mostly near, and a long wait must be cheap.
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Store(Protocol):
    """What is needed of torch's store."""

    def set(self, key: str, value: str) -> None:
        """Keep a value."""
        ...

    def get(self, key: str) -> bytes:
        """Return a value that is there."""
        ...

    def check(self, keys: List[str]) -> bool:
        """Say whether all are there."""
        ...

    def delete_key(self, key: str) -> bool:
        """Forget a value."""
        ...


class Exchange:
    """One rank's access to the store."""

    def __init__(self, store: Store, rank: int, world: int, limit_s: float = LIMIT_S) -> None:
        self.rank = rank
        self.world = world
        self.limit_s = limit_s
        self._store = store
        self._closed = threading.Event()

    def put(self, key: str, text: str) -> None:
        """Leave a text for the others.

        Raises:
            GroupError: the store is gone.
        """
        with _Told():
            self._store.set(key, text)

    def has(self, *keys: str) -> bool:
        """Say whether all these were left."""
        with _Told():
            return bool(self._store.check(list(keys)))

    def take(self, key: str) -> str:
        """Return the text that was left under a key, once it is there.

        Raises:
            GroupError: it did not come within the limit, or the store is gone.
        """
        return self.take_all([key])[0]

    def take_all(self, keys: List[str]) -> List[str]:
        """Return the texts of several keys, once all are there. Raises as `take` does."""
        if not self.appears(keys, self.limit_s):
            missing = [key for key in keys if not self.has(key)]
            raise GroupError(
                f"the other ranks did not answer within {self.limit_s:.0f} s: {', '.join(missing)}",
                "one of them has died or hangs; its own log says more",
            )
        with _Told():
            return [self._store.get(key).decode() for key in keys]

    def of_others(self, stem: str) -> List[str]:
        """Return the keys under which the other ranks answer."""
        return [f"{stem}/{rank}" for rank in range(self.world) if rank != self.rank]

    def appears(self, keys: List[str], limit_s: float) -> bool:
        """Wait until all keys were left; say whether they were within the limit."""
        until = time.monotonic() + limit_s
        pause_s = _FIRST_PAUSE_S
        while not self.has(*keys):
            if time.monotonic() >= until or self._closed.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return True

    def remove(self, keys: List[str]) -> None:
        """Forget keys that nobody will ask for again."""
        with _Told():
            for key in keys:
                self._store.delete_key(key)

    def close(self) -> None:
        """End every wait."""
        self._closed.set()


class _Told:
    """Says in our words that the store is gone."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: "BaseException | None", trace: object) -> None:
        if isinstance(error, RuntimeError):
            raise GroupError(
                f"the ranks have lost each other: {str(error).splitlines()[0]}",
                "the process that hosts torch's store has ended",
            ) from error


def connect(environ: Mapping[str, str]) -> Exchange:
    """Return the exchange with the other ranks, through the store at MASTER_ADDR:MASTER_PORT.

    Under torchrun that is the agent's. Else rank 0 hosts it, in the same way as torch's own
    `init_process_group` does, so that each finds what the other has opened, whichever came first.

    Raises:
        MisuseError: a variable that torchrun sets is missing or wrong.
    """
    found = _read(environ)
    distributed = _distributed()
    agent = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = distributed.TCPStore(
        environ["MASTER_ADDR"],
        found["MASTER_PORT"],
        found["WORLD_SIZE"],
        is_master=found["RANK"] == 0 and not agent,
        timeout=_CONNECT,
        wait_for_workers=False,
        multi_tenant=not agent,
    )
    restart = environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    prefix = f"perdure/{restart}/{found['WORLD_SIZE']}"
    return Exchange(distributed.PrefixStore(prefix, store), found["RANK"], found["WORLD_SIZE"])


def _read(environ: Mapping[str, str]) -> Dict[str, int]:
    missing = [name for name in _NEEDED if not environ.get(name)]
    if missing:
        raise MisuseError(
            f"WORLD_SIZE says that several processes train together, but {', '.join(missing)} "
            "is not set",
            "start them with `torchrun`, or unset WORLD_SIZE for a run of one process",
        )
    try:
        return {name: int(environ[name]) for name in _NEEDED if name != "MASTER_ADDR"}
    except ValueError as error:
        raise MisuseError(f"a variable of torchrun is not a number: {error}") from error


def _distributed() -> ModuleType:
    try:
        return importlib.import_module("torch.distributed")
    except ImportError as error:
        raise MisuseError(
            f"several processes train together, but torch.distributed is not there: {error}",
            "unset WORLD_SIZE for a run of one process",
        ) from error


def hosts(environ: Mapping[str, str], rank: int) -> bool:
    """Say whether this process holds the store, so that it must be the last one to end."""
    return rank == 0 and environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
