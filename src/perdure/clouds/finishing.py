"""The end of a job written into its bucket, where no machine is left to do so."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path

from perdure.clouds.side import log, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.lease import Lease
from perdure.runtime import generation, names

EXIT_CANCELLED = 130


def finish(bucket: Bucket, job: str, now: float) -> None:
    """Write down that a job was killed which no machine has. Touches the network.

    Waits for the lease of a machine that fell silent.
    """
    lease = Lease(bucket, job, f"{socket.gethostname()}-{os.getpid()}")
    lease.take("")
    with tempfile.TemporaryDirectory(prefix="perdure-finish-") as scratch:
        run_dir = Path(scratch)
        writer = log.begin(bucket, job, run_dir)
        number = generation.newest(run_dir) or generation.claim(run_dir)
        path = run_dir / names.ATTEMPTS / names.numbered(number, ".jsonl")
        path.parent.mkdir(exist_ok=True)
        ended = {"t": now, "event": "ended", "state": "CANCELLED", "reason": "killed"}
        line = json.dumps({**ended, "code": EXIT_CANCELLED})
        with path.open("a+b") as file:
            torn = file.tell() > 0 and not path.read_bytes().endswith(b"\n")
            file.write(b"\n" * torn + line.encode() + b"\n")
        writer.flush()
    found = standing.wanted(bucket, job)
    standing.settle(bucket, job, found.turn, "CANCELLED")
    lease.release()
