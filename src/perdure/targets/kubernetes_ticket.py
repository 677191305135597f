"""What a run folder says of the Job that it is in: `kubernetes.json`, beside it on its volume.

A pod cannot ask the cluster anything. From in there a job goes on from when it was submitted until
it has come to its end, or until somebody who saw that the cluster has nothing of it lets it go.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional

from perdure.runtime import generation, names, settled
from perdure.targets.standing import Standing

_FORMAT = 1

Values = dict[str, Any]


class Ticket(NamedTuple):
    """A job in a cluster's hands: its Job's name, and the generation after which it was submitted.

    `released`: the cluster has nothing of it any more.
    """

    name: str
    after: int
    released: bool = False


def read_ticket(run_dir: Path) -> Optional[Ticket]:  # noqa: UP045 - Python 3.9
    """Return what a run folder says, None where it is in no cluster's hands. Reads the disk."""
    try:
        found = json.loads((run_dir / names.KUBERNETES_FILE).read_bytes())
        return Ticket(str(found["name"]), int(found["after"]), bool(found["released"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_ticket(run_dir: Path, ticket: Ticket) -> None:
    """Write it, whole or not at all. Touches the disk."""
    file = run_dir / names.KUBERNETES_FILE
    draft = file.with_name(f".{file.name}-{os.getpid()}-{time.monotonic_ns()}")
    draft.write_text(json.dumps({"format": _FORMAT, **ticket._asdict()}) + "\n")
    draft.replace(file)


def standing_of(run_dir: Path, ticket: Ticket) -> Standing:
    """Return how a job stands as far as its run folder tells. Reads the disk."""
    return Standing(not ticket.released and not settled.is_over(run_dir, ticket.after))


def look(run_dir: str, main: str) -> Values:
    """Return what is to be known before a job is submitted: `newest`, `ticket`, `over`, `main`.

    `main`: whether the supervisor's sources are there, at that path.
    """
    path = Path(run_dir)
    ticket = read_ticket(path)
    return {
        "newest": generation.newest(path),
        "ticket": None if ticket is None else list(ticket),
        "over": ticket is not None and settled.is_over(path, ticket.after),
        "main": Path(main).is_file(),
    }


def hold(run_dir: str, name: str, after: int) -> None:
    """Note that a job is about to be submitted."""
    write_ticket(Path(run_dir), Ticket(name, after))


def release(run_dir: str) -> None:
    """Note that the cluster has nothing of a job any more."""
    path = Path(run_dir)
    ticket = read_ticket(path)
    if ticket is not None and not ticket.released:
        write_ticket(path, ticket._replace(released=True))


def stop(run_dir: str, reason: str) -> None:
    """Write what a supervisor would have: a job that leaves the queue never had one to do so."""
    from perdure.targets.slurm import record_stop

    record_stop(Path(run_dir), reason, time.time())
    release(run_dir)
