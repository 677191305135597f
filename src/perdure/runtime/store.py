"""The checkpoint protocol: commit, verify, fall back.

1. `tmp-<uuid>/state.safetensors` is written and fsynced. 2. `meta.json` with lengths and digests,
its own included, is written and fsynced, then the folder. 3. The fence is checked again, the folder
is renamed to `gNNNNNN-sNNNNNNNNNN`, and `checkpoints/` is fsynced: only now is it durable. 4. Old
ones are renamed, then deleted. Resuming takes the largest (generation, step), verifies all of it,
and sets a bad one aside and falls back, loudly. There is no LATEST file, and no order by time.

With several ranks each writes a shard of its own into the same temporary folder, and rank 0
commits when all are fsynced. Crash consistency follows Pillai et al., "All File Systems Are Not
Created Equal", OSDI 2014: no name is relied upon before the folder that holds it was fsynced.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Set, Tuple

import xxhash

from perdure.runtime import disk, generation, names, probe, staging
from perdure.runtime.arrays import Region
from perdure.runtime.background import Background
from perdure.runtime.faults import CorruptError, NewerFormatError
from perdure.runtime.staging import Layout

FORMAT = 1
_NAME = re.compile(r"g([0-9]+)-s([0-9]+)(?:-([0-9]+))?")

# What reading a checkpoint raises when it is not as it was written.
UNUSABLE = (CorruptError, OSError, ValueError, KeyError, TypeError)

# Of the system's errors those that say that a part is missing; the others may pass.
_TORN = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True)
class Loaded:
    """A verified checkpoint: its manifest, and its bytes in memory of their own."""

    name: str
    meta: Mapping[str, object]
    memory: mmap.mmap
    places: Mapping[str, Tuple[int, int]]

    def fetch(self, array: str) -> Region:
        """Return the bytes of one array.

        Raises:
            CorruptError: the tree names an array that the file lacks.
        """
        if array not in self.places:
            raise CorruptError(f"checkpoint `{self.name}` lacks the array `{array}`")
        offset, nbytes = self.places[array]
        return Region(self.memory, offset, nbytes)


def state_file(rank: int) -> str:
    """Return the name of a rank's shard."""
    return "state.safetensors" if rank == 0 else f"state-r{rank:05d}.safetensors"


def meta_file(rank: int) -> str:
    """Return the name of a rank's manifest; rank 0's is the checkpoint's."""
    return "meta.json" if rank == 0 else f"meta-r{rank:05d}.json"


class Store:
    """The checkpoints of one run folder, as one attempt sees them."""

    def __init__(self, run_dir: str, mine: int, *, keep: int = 3, rank: int = 0) -> None:
        self.run_dir = run_dir
        self.root = os.path.join(run_dir, names.CHECKPOINTS)
        self.generation = mine
        self.keep = keep
        self.rank = rank
        os.makedirs(self.root, exist_ok=True)
        for folder in (run_dir, os.path.dirname(os.path.abspath(run_dir))):
            # A checkpoint is no more durable than the folders it lies in.
            generation.sync_folder(folder)

    # -- writing ------------------------------------------------------------------------------

    def begin(self, step: int) -> str:
        """Check the fence, make a temporary folder and return its path."""
        generation.check(self.run_dir, self.generation)
        path = os.path.join(self.root, f"tmp-{uuid.uuid4().hex}")
        os.mkdir(path)
        probe.reach("save-begin", step=step)
        return path

    def write_shard(
        self, path: str, step: int, memory: mmap.mmap, layout: Layout
    ) -> Dict[str, object]:
        """Write this rank's bytes durably; return what the manifest says of them."""
        whole = Background(lambda: _digest(memory, layout.nbytes))

        def between() -> None:
            probe.reach("save-mid-data", step=step)

        try:
            disk.write(os.path.join(path, state_file(self.rank)), memory, layout.nbytes, between)
        finally:
            whole.join()
        probe.reach("save-state-synced", step=step)
        return {"state_bytes": layout.nbytes, "state_xxh3_128": whole.result()}

    def write_meta(self, path: str, meta: Mapping[str, object]) -> str:
        """Write this rank's manifest durably; return its digest."""
        body = json.dumps(meta, separators=(",", ":")).encode()
        digest: str = xxhash.xxh3_128(body).hexdigest()
        data = body + b"\n" + digest.encode() + b"\n"
        disk.write_small(os.path.join(path, meta_file(self.rank)), data)
        return digest

    def publish(self, path: str, step: int) -> str:
        """Make the folder a checkpoint: durable when this returns. Return its name."""
        generation.sync_folder(path)
        probe.reach("save-meta", step=step)
        generation.check(self.run_dir, self.generation)
        name = self._rename(path, f"g{self.generation:06d}-s{step:010d}")
        probe.reach("save-renamed", step=step)
        generation.sync_folder(self.root)
        probe.reach("save-durable", step=step)
        return name

    def _rename(self, path: str, wanted: str) -> str:
        """Give the folder its name; return it. A second save of a step is counted: `...-1`."""
        name, count = wanted, 0
        while True:
            try:
                os.rename(path, os.path.join(self.root, name))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            else:
                return name
            count += 1
            name = f"{wanted}-{count}"

    def abandon(self, path: str) -> None:
        """Remove a temporary folder after a failed save, as far as the disk allows."""
        shutil.rmtree(path, ignore_errors=True)

    def why(self, error: BaseException) -> BaseException:
        """Return why a save failed: `Fenced` where a newer attempt has cleared its files away."""
        try:
            generation.check(self.run_dir, self.generation)
        except generation.Fenced as fenced:
            return fenced
        except OSError:
            pass  # the folder itself cannot be read; `error` says more
        return error

    def _discard(self, name: str) -> None:
        doomed = os.path.join(self.root, f"del-{uuid.uuid4().hex}")
        try:
            os.rename(os.path.join(self.root, name), doomed)
        except OSError:
            return  # gone already; or the disk refuses, and the next save tells that
        shutil.rmtree(doomed, ignore_errors=True)

    def collect_garbage(self) -> None:
        """Delete all but the newest `keep` checkpoints."""
        try:
            doomed = self.candidates()[self.keep :]
        except OSError:
            return  # what was saved is durable all the same
        for name in doomed:
            self._discard(name)

    def sweep(self) -> None:
        """Delete what interrupted saves and deletions of earlier attempts left behind."""
        for name in os.listdir(self.root):
            if name.startswith(("tmp-", "del-")):
                shutil.rmtree(os.path.join(self.root, name), ignore_errors=True)

    # -- reading ------------------------------------------------------------------------------

    def candidates(self) -> List[str]:
        """Return the names of the checkpoints, newest (generation, step) first."""
        found = [(order, name) for name in os.listdir(self.root) for order in _order(name)]
        return [name for _, name in sorted(found, reverse=True)]

    def latest(self, warn: Callable[[str], None]) -> Optional[Loaded]:
        """Return the newest checkpoint that verifies, None where there is none.

        A bad one is renamed to `bad-...` and `warn` is told. Reads all bytes of it.

        Raises:
            NewerFormatError: the newest one was written by a newer version.
        """
        tried: Set[str] = set()
        while True:
            # Listed anew each time: an attempt that is just being fenced may still replace some.
            name = next((name for name in self.candidates() if name not in tried), None)
            if name is None:
                return None
            tried.add(name)
            try:
                return self.load(name)
            except UNUSABLE as error:
                warn(
                    f"checkpoint `{name}` cannot be used ({error}); falling back to the one before"
                )
                if not isinstance(error, OSError) or error.errno in _TORN:
                    self.set_aside(name)

    def load(self, name: str) -> Loaded:
        """Read and verify one checkpoint.

        Raises:
            CorruptError: a byte is not as it was written.
            OSError: it cannot be read.
        """
        path = os.path.join(self.root, name)
        meta: Mapping[str, object] = read_meta(os.path.join(path, "meta.json"))
        if self.rank:
            meta = self._rank_meta(path, meta)
        nbytes = int(str(meta["state_bytes"]))
        file = os.path.join(path, state_file(self.rank))
        size = os.stat(file).st_size
        if size != nbytes:
            raise CorruptError(f"`{file}` has {size} bytes, its manifest says {nbytes}")
        memory = staging.allocate(nbytes)
        whole = xxhash.xxh3_128()
        # Fresh memory costs as much as the reading: the kernel fills it beside the disk's work.
        ahead = Background(lambda: staging.populate(memory))
        try:
            disk.read(file, memory, nbytes, whole.update)
        finally:
            ahead.join()
        if whole.hexdigest() != meta["state_xxh3_128"]:
            raise CorruptError(f"`{file}` is not what was written: its digest differs")
        return Loaded(name, meta, memory, staging.read_places(memory, nbytes))

    def _rank_meta(self, path: str, meta: Mapping[str, object]) -> Mapping[str, object]:
        own = read_meta(os.path.join(path, meta_file(self.rank)))
        shards = meta["shards"]
        if not isinstance(shards, dict) or shards.get(str(self.rank)) != own["self"]:
            raise CorruptError(f"`{path}` holds another shard of rank {self.rank} than it says")
        return own

    def set_aside(self, name: str) -> None:
        """Rename a bad checkpoint to `bad-...`, as far as the disk allows."""
        aside = os.path.join(self.root, f"bad-{name}-{uuid.uuid4().hex[:6]}")
        try:
            os.rename(os.path.join(self.root, name), aside)
        except OSError:
            pass  # a read-only disk: it is skipped again next time


def _digest(memory: mmap.mmap, nbytes: int) -> str:
    with memoryview(memory) as whole, whole[:nbytes] as part:
        digest: str = xxhash.xxh3_128(part).hexdigest()
    return digest


def _order(name: str) -> Iterator[Tuple[int, int, int]]:
    """Yield generation, step and count of a checkpoint's name; nothing for another name."""
    found = _NAME.fullmatch(name)
    if found is not None:
        yield int(found[1]), int(found[2]), int(found[3] or 0)


def read_meta(path: str) -> Dict[str, object]:
    """Return a verified manifest, with its own digest under `self`.

    Raises:
        CorruptError: its bytes are not as they were written.
        NewerFormatError: a newer version wrote it.
    """
    with open(path, "rb") as file:
        data = file.read()
    parts = data.split(b"\n")
    if len(parts) != 3 or parts[2] != b"":
        raise CorruptError(f"`{path}` is not whole")
    body, digest = parts[0], parts[1].decode("ascii", "replace")
    if xxhash.xxh3_128(body).hexdigest() != digest:
        raise CorruptError(f"`{path}` is not what was written: its digest differs")
    meta = json.loads(body)
    if int(meta["format"]) > FORMAT:
        raise NewerFormatError(
            f"`{path}` has format {meta['format']}, this version reads up to {FORMAT}",
            "install a newer perdure in the project's environment",
        )
    meta["self"] = digest
    return dict(meta)
