"""What a run came to: read from its newest checkpoint's manifest, without loading the state."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Mapping, Optional

import xxhash

from perdure.runtime import metrics, names
from perdure.runtime.store import Store, read_meta


@dataclass(frozen=True)
class Result:
    """The outcome of a run: two runs are alike when `weights`, `rows` and `metrics` are."""

    step: int
    complete: bool
    weights: str
    rows: int
    metrics: str
    tensors: Mapping[str, str]
    tree: str


def read_result(run_dir: str) -> Optional[Result]:
    """Return the result as of the newest checkpoint; None where there is none. Reads the disk."""
    if not os.path.isdir(os.path.join(run_dir, names.CHECKPOINTS)):
        return None
    store = Store(run_dir, 0)
    for name in store.candidates():
        try:
            meta = read_meta(os.path.join(store.root, name, "meta.json"))
        except (OSError, ValueError, KeyError, RuntimeError):
            continue
        return _result(run_dir, meta)
    return None


def _result(run_dir: str, meta: Mapping[str, object]) -> Result:
    rows = metrics.read_rows(run_dir)
    text = "\n".join(json.dumps(row, sort_keys=True) for row in rows)
    tensors = meta["tensors"]
    assert isinstance(tensors, dict)
    tree = json.dumps(meta["tree"], sort_keys=True)
    return Result(
        step=int(str(meta["step"])),
        complete=bool(meta["complete"]),
        weights=str(meta["weights"]),
        rows=len(rows),
        metrics=xxhash.xxh3_128(text.encode()).hexdigest(),
        tensors={name: str(entry["hash"]) for name, entry in tensors.items()},
        tree=xxhash.xxh3_128(tree.encode()).hexdigest(),
    )
