"""What a run folder says of the Job that it is in: `kubernetes.json`, beside it on its volume.

A pod cannot ask the cluster anything. From in there a job goes on from when it was submitted until
it has come to its end, or until somebody who saw that the cluster has nothing of it lets it go.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from perdure.runtime import array, generation, names, settled
from perdure.targets.standing import Standing

_FORMAT = 1
# Who has taken a job that no pod is to begin.
_BY_HAND = "driver"

Values = dict[str, Any]


class Ticket(NamedTuple):
    """A job in a cluster's hands: its Job's name, and the generation after which it was submitted.

    `released`: the cluster has nothing of it any more; `array` is the folder of the array that it
    is in, "" where its Job is its own.
    """

    name: str
    after: int
    released: bool = False
    array: str = ""


def read_ticket(run_dir: Path) -> Optional[Ticket]:  # noqa: UP045 - Python 3.9
    """Return what a run folder says, None where it is in no cluster's hands. Reads the disk."""
    try:
        found = json.loads((run_dir / names.KUBERNETES_FILE).read_bytes())
        known = (str(found["name"]), int(found["after"]), bool(found["released"]))
        return Ticket(*known, str(found.get("array", "")))
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
    """Return what is known of a job in a cluster: `newest`, `ticket`, `over`, `begun`, `main`.

    `begun`: an attempt of it has, and has not ended; `main`: whether the supervisor's sources are
    there, at that path.
    """
    path = Path(run_dir)
    ticket = read_ticket(path)
    return {
        "newest": generation.newest(path),
        "ticket": None if ticket is None else list(ticket),
        "begun": ticket is not None
        and generation.newest(path) > ticket.after
        and not settled.ended(path, ticket.after),
        "over": ticket is not None and settled.is_over(path, ticket.after),
        "main": Path(main).is_file(),
    }


def hold(run_dir: str, name: str, after: int) -> None:
    """Note that a job is about to be submitted."""
    write_ticket(Path(run_dir), Ticket(name, after))


def hold_array(folder: str, turns: Values, name: str, afters: dict[str, int]) -> None:
    """Write what an Indexed Job is to run, and that its jobs are about to be submitted.

    `afters` are the generations of the jobs, by their run folders.
    """
    path = Path(folder)
    (path / array.TAKEN).mkdir(parents=True, exist_ok=True)
    draft = path / f".{array.TURNS_FILE}-{os.getpid()}"
    draft.write_text(json.dumps(turns), "utf-8")
    draft.replace(path / array.TURNS_FILE)
    for run_dir, after in afters.items():
        write_ticket(Path(run_dir), Ticket(name, after, array=folder))


def call_off(run_dir: str, index: int, reason: str, idle: bool) -> bool:
    """Return whether a job of an array that no pod has begun will be begun by none any more.

    `idle`: no pod runs it, and what was begun and waits to go on is called off likewise: the pod
    that comes next finds it over. It is written down as stopped for that reason, or as killed where
    there is none: a job that nobody has, and of which nothing is said, a sweep would go on with.
    """
    path = Path(run_dir)
    ticket = read_ticket(path)
    if ticket is None or not ticket.array:
        return False
    if not (array.take(ticket.array, index, _BY_HAND) or idle):
        return False
    if reason:
        stop(run_dir, reason)
        return True
    events = path / names.ATTEMPTS / names.numbered(generation.claim(path), ".jsonl")
    events.parent.mkdir(exist_ok=True)
    ended = {"event": "ended", "state": "CANCELLED", "reason": "killed", "code": 130}
    events.write_text(json.dumps({"t": time.time(), **ended}) + "\n")
    release(run_dir)
    return True


def newest(run_dirs: Sequence[str]) -> list[int]:
    """Return the newest generation of each run folder."""
    return [generation.newest(each) for each in run_dirs]


def held(run_dirs: Sequence[str]) -> list[bool]:
    """Return of each run folder whether its job is in a cluster's hands, as far as it tells."""
    found = ((Path(each), read_ticket(Path(each))) for each in run_dirs)
    return [ticket is not None and standing_of(path, ticket).alive for path, ticket in found]


def release(run_dir: str) -> None:
    """Note that the cluster has nothing of a job any more."""
    path = Path(run_dir)
    ticket = read_ticket(path)
    if ticket is not None and not ticket.released:
        write_ticket(path, ticket._replace(released=True))


def release_all(run_dirs: Sequence[str]) -> None:
    """Note that the cluster has nothing of these jobs any more."""
    for each in run_dirs:
        release(each)


def stop(run_dir: str, reason: str) -> None:
    """Write what a supervisor would have: a job that leaves the queue never had one to do so."""
    from perdure.targets.slurm import record_stop

    record_stop(Path(run_dir), reason, time.time())
    release(run_dir)
