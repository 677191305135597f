"""What a job did elsewhere, brought into a bucket: its log, its newest checkpoint, its outputs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from perdure.clouds.side import checkpoints, log
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.lease import Lease
from perdure.clouds.side.outputs import Outputs
from perdure.runtime import names


def bring(bucket: Bucket, job: str, run_dir: Path, holder: str) -> None:
    """Bring a run folder that grew here into the bucket. Touches disk and network.

    What the bucket has already is the beginning of what is here; no machine has the job meanwhile.
    """
    lease = Lease(bucket, job, holder)
    newest = next(iter(checkpoints.here(run_dir)), "")
    # Another mark than any checkpoint: the turns before do not count as turns without progress.
    lease.take(f"from elsewhere: {newest}")
    with tempfile.TemporaryDirectory(prefix="perdure-history-") as scratch:
        writer = log.begin(bucket, job, Path(scratch))
    writer.run_dir = run_dir
    if newest:
        shelf = checkpoints.Shelf(bucket, job)
        if newest not in shelf.committed():
            shelf.upload(run_dir / names.CHECKPOINTS / newest, confirm=lease.beat)
    outputs = Outputs(bucket, job, run_dir)
    outputs.recall()
    outputs.send()
    # Last: whoever reads of a step finds what was saved at it.
    writer.flush()
    lease.release()
