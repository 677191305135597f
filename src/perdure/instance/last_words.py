"""What a machine writes into its job's log at the end, whatever its own disk takes by then."""

from __future__ import annotations

import json
import os
import time

from perdure.clouds.side import log
from perdure.clouds.side.bucket import Bucket
from perdure.runtime import names
from perdure.runtime.generation import newest_of

_MOST = 300


def tell(bucket: Bucket, job: str, holder: str, text: str) -> None:
    """Write what a machine has to say where a person looks what failed. Touches the network.

    Raises:
        Fenced: another machine writes to the log.
    """
    line = f"{holder}: {text}\n"
    log.at_end(bucket, job).add({names.SUPERVISOR_LOG: line.encode()})


def told(bucket: Bucket, job: str, holder: str) -> str:
    """Return what a machine said last of what failed, "" for nothing. Touches the network."""
    said = log.whole(bucket, job, names.SUPERVISOR_LOG).decode(errors="replace")
    own = [line for line in said.splitlines() if line.startswith(f"{holder}: ")]
    return own[-1].removeprefix(f"{holder}: ")[:_MOST] if own and holder else ""


def write_failed(bucket: Bucket, job: str, why: str) -> None:
    """Write down that a job failed in an attempt that never began. Raises as `tell`."""
    writer = log.at_end(bucket, job)
    number = newest_of(writer.sizes) + 1
    ended = {"t": time.time(), "event": "ended", "state": "FAILED", "reason": why, "code": 1}
    claim = {"pid": os.getpid(), "host": os.uname().nodename}
    # The claim comes last: who reads it has the reason.
    attempt = f"{names.ATTEMPTS}/{names.numbered(number, '.jsonl')}"
    claimed = f"{names.GENERATION_PREFIX}{names.numbered(number, '')}"
    words = {attempt: ended, claimed: claim}
    writer.add({name: f"{json.dumps(words[name])}\n".encode() for name in words})
