"""The Slurm that a sweep's arrays are handed to: of this machine, or of a login node's."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from perdure.errors import PerdureError
from perdure.jobs import elsewhere, mirror
from perdure.model.job import JobRecord
from perdure.runtime import names
from perdure.targets import far_arrays, slurm_hands
from perdure.targets import slurm_array as arrays
from perdure.targets.protocol import Notice
from perdure.targets.remote import Remote
from perdure.targets.slurm import Slurm
from perdure.targets.slurm_hands import Elements

# A job there costs a question and an answer whenever somebody looks.
_MOST_AWAY = 1_000
_MOST_HERE = 5_000
_LONG_S = 300.0


class Hands(Protocol):
    """What a pool of arrays needs of the machine that has Slurm's commands.

    Arrays go by the names of their folders in `below`, the sweep's own folder of arrays.
    """

    @property
    def most(self) -> int:
        """Return how many jobs are in Slurm's hands at most, running or not."""

    def size(self) -> int:
        """Return how many jobs an array can have. Asks Slurm."""

    def hand_over(self, order: arrays.Order) -> str:
        """Return the folder of an array that was handed over. Raises as `submit_array`."""

    def held(self, records: Sequence[JobRecord]) -> Mapping[str, Sequence[str]]:
        """Return the jobs that Slurm has: each with its array and its index, or none of ours."""

    def over(self, asked: Elements) -> Elements:
        """Return which of the elements' jobs have come to rest."""

    def bring(self, folders: Sequence[Path]) -> None:
        """Have what those jobs wrote be in their run folders here."""

    def throttle(self, folders: Sequence[str], most_running: int) -> None:
        """Have arrays run so many elements at a time; PerdureError: one was not told."""

    def notify(self, asked: Elements, notice: Notice) -> bool:
        """Pass a notice on to all that run; what has not begun is taken back from Slurm.

        Return whether whoever has them was reached.
        """

    def cancel(self, folder: Path) -> None:
        """Touch a job's CANCEL, which is looked at within a tick."""


class Here:
    """The Slurm of this machine."""

    most = _MOST_HERE

    def __init__(self, target: Slurm, below: Path) -> None:
        self._target = target
        self._below = os.fspath(below)

    def size(self) -> int:
        """Return how many jobs an array can have."""
        return arrays.block_size()

    def hand_over(self, order: arrays.Order) -> str:
        """Hand an array over."""
        arrays.submit_array(self._target, order)
        return os.fspath(order.folder)

    def held(self, records: Sequence[JobRecord]) -> Mapping[str, Sequence[str]]:
        """Return the jobs that Slurm has."""
        return slurm_hands.held([os.fspath(each.folder) for each in records], self._below)

    def over(self, asked: Elements) -> Elements:
        """Return which have come to rest."""
        return slurm_hands.over(asked)

    def bring(self, folders: Sequence[Path]) -> None:
        """Return: the nodes share the run folders."""

    def throttle(self, folders: Sequence[str], most_running: int) -> None:
        """Have arrays run so many elements at a time."""
        slurm_hands.throttle(folders, most_running)

    def notify(self, asked: Elements, notice: Notice) -> bool:
        """Pass a notice on."""
        slurm_hands.notify(self._target, asked, notice)
        return True

    def cancel(self, folder: Path) -> None:
        """Touch CANCEL."""
        (folder / names.CANCEL).touch()


class Away:
    """The Slurm of a login node: run folders are made there as well, many with one call."""

    most = _MOST_AWAY

    def __init__(self, target: Remote, base: JobRecord, below: Path) -> None:
        self._target = target
        self._place = target.place
        self._host = target.host
        self._base = base
        self._below = below
        self._made: set[str] = set()

    def size(self) -> int:
        """Return how many jobs an array can have."""
        return self._host.call(far_arrays.size)

    def hand_over(self, order: arrays.Order) -> str:
        """Hand an array over, there; what it needs is brought there first."""
        self._make_folders([*order.jobs.values()])
        try:
            with self._place.writing():
                self._target.hand_over(order)
        except PerdureError:
            # Whatever it is, they may be gone: they are looked for again.
            self._made.clear()
            raise
        return self._place.path(order.folder)

    def held(self, records: Sequence[JobRecord]) -> Mapping[str, Sequence[str]]:
        """Return the jobs that Slurm has."""
        run_dirs = [self._place.path(each.folder) for each in records]
        below = self._place.path(self._below)
        return self._host.call_long(far_arrays.held, run_dirs, below, timeout_s=_LONG_S)

    def over(self, asked: Elements) -> Elements:
        """Return which have come to rest; none while the host does not answer."""
        with contextlib.suppress(PerdureError):
            return self._host.call_long(far_arrays.over, asked, timeout_s=_LONG_S)
        return []

    def bring(self, folders: Sequence[Path]) -> None:
        """Have what those jobs wrote be here. Raises PerdureError where the host is silent."""
        mirror.bring_all(folders)

    def throttle(self, folders: Sequence[str], most_running: int) -> None:
        """Have arrays run so many elements at a time."""
        self._host.call(far_arrays.throttle, list(folders), most_running)

    def notify(self, asked: Elements, notice: Notice) -> bool:
        """Pass a notice on; a host that does not answer is not told."""
        if not asked:
            return True
        left_s = None if notice.deadline is None else notice.deadline - time.time()
        with contextlib.suppress(PerdureError):
            given = (self._target.values(), asked, notice.reason, left_s)
            self._host.call_long(far_arrays.notify, *given, timeout_s=_LONG_S)
            return True
        return False

    def cancel(self, folder: Path) -> None:
        """Touch CANCEL there."""
        elsewhere.touch(self._place, folder / names.CANCEL)

    def _make_folders(self, records: Sequence[JobRecord]) -> None:
        wanted = [each for each in records if each.job not in self._made]
        elsewhere.send_trials(self._place, self._base, wanted)
        self._made.update(each.job for each in wanted)
