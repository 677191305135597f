"""What trials wrote on other machines: brought here before it is read."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from perdure.errors import PerdureError
from perdure.jobs import folder as folders
from perdure.model.job import ENDED, JobStatus
from perdure.sweeps.ownership import trial_told


def bring(run_dirs: Iterable[Path]) -> bool:
    """Return whether all that these jobs have logged is here; asks the hosts that have them.

    False: one does not answer, or the disk here takes nothing. What came is kept.
    """
    away = [each for each in run_dirs if folders.is_elsewhere(each)]
    if not away:
        return True
    from perdure.jobs.mirror import bring_all

    try:
        bring_all(away)
    except (PerdureError, OSError):
        return False
    return True


def catch_up(sweep: str, found: Iterable[JobStatus], known: Container[int]) -> None:
    """Have here what trials logged that ended while nobody drove their sweep.

    Not those of `known`, which are told of already. Asks the hosts that have them.
    """
    numbered = [(trial_told(sweep, each), each) for each in found]
    bring(
        each.record.folder
        for trial, each in numbered
        if trial is not None and trial not in known and each.state in ENDED
    )
