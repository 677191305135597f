"""A project's folder made on an empty disk: code, run folder, what earlier machines have left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perdure.clouds.side import checkpoints, keys, log
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.order import Order
from perdure.clouds.side.outputs import Outputs
from perdure.errors import StorageError
from perdure.jobs import there

_WORKERS = 16
_BATCH = 64


def bring_code(bucket: Bucket, root: Path, run_dir: Path) -> None:
    """Make the snapshot of a job's code, of contents from the bucket. Touches network and disk.

    Raises:
        StorageError: contents are missing, or are not what their name says.
    """
    text = there.read_list(run_dir)
    if text is None:
        return
    missing = there.lacking(str(root), text)
    if missing is None:
        return
    wanted = [(str(kind), str(digest)) for kind, digest in missing]
    with ThreadPoolExecutor(_WORKERS) as pool:
        for batch in _batches(wanted):
            found = pool.map(lambda each: bucket.get(keys.contents(each[1], each[0])), batch)
            contents: list[list[object]] = []
            for (kind, digest), each in zip(batch, found, strict=True):
                if each is None:
                    raise StorageError(f"the bucket lacks the contents `{digest}` of the code")
                contents.append([kind, digest, each.data])
            there.take(str(root), contents)
    there.build(str(root), text)


def bring_folder(bucket: Bucket, root: Path, order: Order, job: str) -> Path:
    """Return the run folder as it was submitted. Touches network and disk."""
    files = {}
    for name in order.files:
        found = bucket.get(keys.job(job, f"{keys.FOLDER}/{name}"))
        if found is None:
            raise StorageError(f"the bucket lacks `{name}` of the run folder")
        files[name] = found.data
    there.begin(str(root), f"results/{job}", files)
    return root / "results" / job


def bring_history(
    bucket: Bucket, job: str, run_dir: Path, warn: Callable[[str], None]
) -> tuple[log.Writer, Outputs, str]:
    """Return the log and the outputs to go on with, and the newest checkpoint ("": none)."""
    writer = log.begin(bucket, job, run_dir)
    outputs = Outputs(bucket, job, run_dir)
    outputs.bring()
    newest = checkpoints.restore(checkpoints.Shelf(bucket, job), run_dir, warn)
    return writer, outputs, newest


def _batches(wanted: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(wanted), _BATCH):
        yield wanted[start : start + _BATCH]
