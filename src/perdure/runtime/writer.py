"""Writes snapshots behind the training's back: one at a time, in a thread of its own."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional

import xxhash

from perdure.runtime import device, metrics, staging
from perdure.runtime.arrays import Array
from perdure.runtime.background import Background
from perdure.runtime.ranks import Ranks
from perdure.runtime.store import Store


@dataclass(frozen=True)
class Snapshot:
    """What is to be made durable: the arrays lie in the staging buffer already."""

    step: int
    reason: str
    layout: staging.Layout
    found: Mapping[str, Array]
    meta: Mapping[str, object]
    weights: List[str]
    copied: Optional[object]


@dataclass(frozen=True)
class Outcome:
    """How a save went: `error` is None when the checkpoint is durable."""

    step: int
    reason: str
    nbytes: int
    seconds: float
    error: Optional[BaseException]


class Writer:
    """The thread, and the buffer it writes from."""

    def __init__(self, store: Store, ranks: Ranks, segment: "metrics.Segment | None") -> None:
        self.staging = staging.Staging()
        self.store = store
        self.ranks = ranks
        self.segment = segment
        self._thread: Optional[threading.Thread] = None
        self._settled = threading.Event()
        self._outcome: Optional[Outcome] = None

    def start(self, snapshot: Snapshot) -> None:
        """Begin to write; the buffer must not be touched until it is done."""
        assert self._outcome is None
        if self._thread is not None:
            self._thread.join()  # it is deleting what is no longer needed
        self._settled.clear()
        # Not a daemon: a training that crashes still gets the save it had under way.
        self._thread = threading.Thread(target=self._run, args=(snapshot,), name="perdure-writer")
        self._thread.start()

    def busy(self) -> bool:
        """Say whether a save is under way."""
        return self._thread is not None and not self._settled.is_set()

    def join(self) -> None:
        """Wait until the save under way, if any, is durable or has failed."""
        if self._thread is not None:
            self._settled.wait()

    def finished(self) -> Optional[Outcome]:
        """Return how the last save went, once; None while under way or where there is none."""
        return None if self.busy() else self._take()

    def wait(self) -> Optional[Outcome]:
        """Wait for the save under way, and what it has to delete; return how it went."""
        if self._thread is not None:
            self._thread.join()
        return self._take()

    def _take(self) -> Optional[Outcome]:
        outcome, self._outcome = self._outcome, None
        return outcome

    def _run(self, snapshot: Snapshot) -> None:
        began = time.monotonic()
        error: Optional[BaseException] = None
        try:
            device.wait(snapshot.copied)
            if self.segment is not None:
                self.segment.sync()
            self.ranks.commit(self.store, snapshot.step, lambda path: self._write(path, snapshot))
        except BaseException as problem:  # noqa: BLE001
            # Handed to the training's thread, which decides: a periodic save may fail.
            error = self.store.why(problem)
        seconds = time.monotonic() - began
        self._outcome = Outcome(
            snapshot.step, snapshot.reason, snapshot.layout.nbytes, seconds, error
        )
        self._settled.set()
        if error is None and self.ranks.rank == 0:
            # Deleting a gigabyte takes a while, and the checkpoint is durable without it.
            self.store.collect_garbage()

    def _write(self, path: str, snapshot: Snapshot) -> Dict[str, object]:
        memory = self.staging.memory
        assert memory is not None
        described = Background(lambda: hashes(self.staging, snapshot.found))
        try:
            shard = self.store.write_shard(path, snapshot.step, memory, snapshot.layout)
        finally:
            described.join()
        tensors = described.result()
        return {
            **snapshot.meta,
            **shard,
            "tensors": tensors,
            "weights": weights_digest(tensors, snapshot.weights, snapshot.meta),
        }


def hashes(buffer: staging.Staging, found: Mapping[str, Array]) -> Dict[str, Dict[str, object]]:
    """Return digest, type and shape of every array in the buffer."""
    described: Dict[str, Dict[str, object]] = {}
    for name, array in found.items():
        region = buffer.region(name)
        with memoryview(region.memory) as whole:
            part = whole[region.offset : region.offset + region.nbytes]
            described[name] = {
                "hash": xxhash.xxh3_64(part).hexdigest(),
                "dtype": array.kind,
                "shape": list(array.shape),
            }
            part.release()
    return described


def weights_digest(
    tensors: Mapping[str, Mapping[str, object]], items: List[str], meta: Mapping[str, object]
) -> str:
    """Return one digest over the arrays of the items that are models.

    Where none is, over all that is tracked: arrays, and plain values as the manifest has them.
    """
    prefixes = tuple(f"items/{name}/" for name in items) or ("items/",)
    chosen = [name for name in tensors if name.startswith(prefixes)]
    tree = meta.get("tree")
    values = tree["items"] if isinstance(tree, dict) and not items else None
    text = json.dumps(values, sort_keys=True) + "\n".join(
        f"{name} {tensors[name]['dtype']} {tensors[name]['shape']} {tensors[name]['hash']}"
        for name in sorted(chosen)
    )
    digest: str = xxhash.xxh3_128(text.encode()).hexdigest()
    return digest
