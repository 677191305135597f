"""Keeps a run's state: takes snapshots of what is tracked, and puts them back."""

from __future__ import annotations

import sys
import threading
import time
from typing import Dict, List, Mapping, Optional

import xxhash

from perdure.runtime import control, device, libraries, names, probe, rng, state, writer
from perdure.runtime.arrays import Array
from perdure.runtime.faults import MismatchError, SaveError
from perdure.runtime.generation import Fenced
from perdure.runtime.interval import Interval
from perdure.runtime.metrics import Segment
from perdure.runtime.ranks import Ranks
from perdure.runtime.staging import Layout, Staging
from perdure.runtime.store import FORMAT, Loaded, Store
from perdure.runtime.tracked import Item
from perdure.runtime.writer import Outcome, Snapshot, Writer


class FencedExit(SystemExit):
    """Another attempt owns the run folder: ends the process with code 76."""


class Keeper:
    """The tracked items of one attempt, and the checkpoints made of them."""

    def __init__(
        self, store: Store, ranks: Ranks, interval: Interval, line: control.Control
    ) -> None:
        self.items: Dict[str, Item] = {}
        self.store = store
        self.interval = interval
        self.durable_step: Optional[int] = None
        self._ranks = ranks
        self._control = line
        self._writer = Writer(store, ranks, None)
        self._restored: Optional[Loaded] = None
        self._preparing: Optional[threading.Thread] = None

    # -- taking -------------------------------------------------------------------------------

    def attach(self, segment: Segment) -> None:
        """Make the rows of this segment durable before each checkpoint that counts them."""
        self._writer.segment = segment

    def prepare(self, generators: Mapping[str, object]) -> None:
        """Allocate and touch the staging buffer for a save as of now, behind the training."""
        found = self._encode(generators)[1]
        staging = self._writer.staging
        self._preparing = threading.Thread(target=staging.prepare, args=(found,), daemon=True)
        self._preparing.start()

    def _settle_preparation(self) -> None:
        if self._preparing is not None:
            self._preparing.join()
            self._preparing = None

    def _encode_items(self) -> "tuple[Dict[str, state.Json], Dict[str, Array]]":
        trees: Dict[str, state.Json] = {}
        found: Dict[str, Array] = {}
        for name, item in self.items.items():
            encoded = state.encode(item.get(), name)
            trees[name] = encoded.tree
            found.update({f"items/{array}": value for array, value in encoded.arrays.items()})
        return trees, found

    def _encode(
        self, generators: Mapping[str, object]
    ) -> "tuple[Dict[str, state.Json], Dict[str, Array]]":
        trees, found = self._encode_items()
        whole: Dict[str, state.Json] = {"items": trees}
        for name, tree in generators.items():
            encoded = state.encode(tree, name)
            whole[name] = encoded.tree
            found.update(encoded.arrays)
        return whole, found

    def save(self, meta: Mapping[str, object], generators: Mapping[str, object]) -> None:
        """Take a snapshot now and begin to write it; the training waits for the copy only.

        Args:
            meta: what the manifest says besides the state: step, reason, position ...
            generators: trees of random number states by name, such as `rng`.
        """
        began = time.monotonic()
        self._settle_preparation()
        tree, found = self._encode(generators)
        layout, copied = self._stage(found)
        step = int(str(meta["step"]))
        snapshot = Snapshot(
            step=step,
            reason=str(meta["reason"]),
            layout=layout,
            found=found,
            meta={**meta, "format": FORMAT, "tree": tree},
            weights=[name for name, item in self.items.items() if item.weights],
            copied=copied,
        )
        probe.reach("save-staged", step=step)
        self._writer.start(snapshot)
        now = time.monotonic()
        self.interval.saved(now, now - began)

    def _stage(self, found: Mapping[str, Array]) -> "tuple[Layout, Optional[object]]":
        staging = self._writer.staging
        if not device.used(found):
            return staging.fill(found), None
        staging.prepare(found)
        assert staging.memory is not None
        device.pin(staging.memory)
        with device.copying():
            layout = staging.fill(found)
        return layout, device.copied()

    def busy(self) -> bool:
        """Say whether a save is under way."""
        return self._writer.busy()

    def wait(self) -> None:
        """Wait for the save under way, if any; `collect` then tells how it went."""
        self._writer.join()

    def collect(self) -> None:
        """Take note of a periodic save that has ended; one that failed is only warned about.

        Raises:
            FencedExit: another attempt owns the run folder.
        """
        outcome = self._writer.finished()
        if outcome is not None:
            self._note(outcome)
            if outcome.error is not None:
                self.warn(
                    f"the checkpoint of step {outcome.step} could not be written "
                    f"({outcome.error}); training goes on, older checkpoints are untouched"
                )

    def finish(self) -> None:
        """Wait for the save under way, which must not fail.

        Raises:
            SaveError: it did not reach the disk.
            FencedExit: another attempt owns the run folder.
        """
        outcome = self._writer.wait()
        if outcome is None:
            return
        self._note(outcome)
        if outcome.error is not None:
            raise SaveError(
                f"the last checkpoint, of step {outcome.step}, could not be written: "
                f"{outcome.error}",
                "older checkpoints are untouched; make room, then `perdure resume`",
            ) from outcome.error

    def _note(self, outcome: Outcome) -> None:
        if isinstance(outcome.error, Fenced):
            control.say(f"stopped: {outcome.error}")
            raise FencedExit(names.EXIT_FENCED)
        if outcome.error is not None:
            return
        self.durable_step = outcome.step
        self.interval.written(outcome.seconds)
        if self._ranks.rank != 0:
            return
        self._control.send(
            "durable",
            step=outcome.step,
            bytes=outcome.nbytes,
            seconds=round(outcome.seconds, 4),
            reason=outcome.reason,
        )

    def warn(self, text: str) -> None:
        """Tell the person and the supervisor."""
        control.say(f"warning: {text}")
        self._control.send("warning", text=text)

    # -- putting back -------------------------------------------------------------------------

    def restore(self) -> Optional[Mapping[str, object]]:
        """Put the newest checkpoint that verifies back into the tracked items; return its manifest.

        Raises:
            MismatchError: it is of a training that tracked something else.
        """
        self._restored = self._ranks.latest(self.store, self.warn)
        if self._restored is None:
            return None
        meta = self._restored.meta
        self.durable_step = int(str(meta["step"]))
        self._check_names(_tree(meta))
        self._compare_versions(meta)
        self._put_back(self._restored)
        return meta

    def _check_names(self, tree: Mapping[str, state.Json]) -> None:
        saved = set(_mapping(tree["items"]))
        if saved != set(self.items):
            raise MismatchError(
                "the checkpoint is of a training that tracked something else: "
                f"it holds {_listed(saved)}, this one tracks {_listed(set(self.items))}",
                "start a new job for a changed training; a job keeps the code it began with",
            )

    def _put_back(self, loaded: Loaded) -> None:
        trees = _mapping(_tree(loaded.meta)["items"])
        for name, item in self.items.items():
            if probe.dropped(name):
                continue
            like = None if item.copies else item.get()
            item.put(state.decode(trees[name], lambda a: loaded.fetch(f"items/{a}"), like))

    def generators(self, name: str) -> Optional[Mapping[str, object]]:
        """Return a tree of random number states from the restored checkpoint."""
        loaded = self._restored
        if loaded is None or name not in _tree(loaded.meta):
            return None
        decoded = state.decode(_tree(loaded.meta)[name], loaded.fetch)
        return decoded if isinstance(decoded, dict) else None

    def settle(self) -> None:
        """Put the items back once more if running up to the snapshot's place has changed them."""
        loaded = self._restored
        if loaded is None:
            return
        trees, found = self._encode_items()
        if trees != _mapping(_tree(loaded.meta)["items"]) or self._changed(loaded, found):
            self._put_back(self.store.load(loaded.name))

    def _changed(self, loaded: Loaded, found: Mapping[str, Array]) -> bool:
        self._settle_preparation()
        self._stage(found)
        self._synchronise()
        now = writer.hashes(self._writer.staging, found)
        before = _mapping(loaded.meta["tensors"])
        return any(value["hash"] != _mapping(before[name])["hash"] for name, value in now.items())

    def _synchronise(self) -> None:
        torch = libraries.torch()
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()

    def release(self) -> None:
        """Forget the restored checkpoint's memory."""
        self._restored = None

    def _compare_versions(self, meta: Mapping[str, object]) -> None:
        before, now = _mapping(meta.get("versions")), versions(self._ranks.world)
        changed = [
            f"{k} {before[k]} -> {now[k]}" for k in now if k in before and before[k] != now[k]
        ]
        if changed:
            self.warn(
                "the result may differ in its last bits from an uninterrupted run: "
                + ", ".join(changed)
            )

    def digests(self) -> Dict[str, str]:
        """Return one digest for each tracked item and generator: for a drill's trace."""
        digests = {name: digest(item.get()) for name, item in self.items.items()}
        digests.update({f"rng.{name}": digest(value) for name, value in rng.capture().items()})
        return digests


def digest(tree: object) -> str:
    """Return a digest of any tree of state; arrays by their bytes."""
    encoded = state.encode(tree, "")
    buffer = Staging()
    buffer.fill(encoded.arrays)
    hashes: List[str] = [str(h["hash"]) for h in writer.hashes(buffer, encoded.arrays).values()]
    text = repr((encoded.tree, hashes)).encode()
    found: str = xxhash.xxh3_64(text).hexdigest()
    return found


def versions(world: int) -> Dict[str, state.Json]:
    """Return what a result depends on besides code, data and seed."""
    found: Dict[str, state.Json] = {"python": sys.version.split()[0], "world": world}
    numpy, torch = libraries.numpy(), libraries.torch()
    if numpy is not None:
        found["numpy"] = str(numpy.__version__)
    if torch is not None:
        found["torch"] = str(torch.__version__)
        found["threads"] = int(torch.get_num_threads())
        if torch.cuda.is_available():
            found["gpu"] = str(torch.cuda.get_device_name())
    return found


def _tree(meta: Mapping[str, object]) -> Mapping[str, state.Json]:
    return _mapping(meta["tree"])


def _mapping(value: object) -> "Mapping[str, state.Json]":
    return value if isinstance(value, dict) else {}


def _listed(names: "set[str]") -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"
