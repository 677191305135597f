"""Trials as the indices of Indexed Jobs, where a Kubernetes has them: many handed over at once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from perdure.errors import ConflictError, PerdureError
from perdure.jobs import elsewhere
from perdure.jobs.launch import prepared
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.sweeps.outside import Outside
from perdure.targets import kubernetes_array as arrays
from perdure.targets.kubernetes import Kubernetes
from perdure.targets.kubernetes_together import free, submit_array, throttle

_AGAIN_S = 10.0


class Indexed(Outside):
    """The pool of such a cluster; jobs are asked after as those of any other target elsewhere."""

    def __init__(
        self,
        workspace: Workspace,
        target: Kubernetes,
        folder: Path,
        base: JobRecord,
        passed: Mapping[str, str],
        release: tuple[int, int],
    ) -> None:
        super().__init__(workspace, base, passed)
        self._cluster = target
        self._folder = f".perdure/arrays/{folder.name}"
        self._base = replace(base, variables={**base.variables, **passed})
        self._release = release
        self._is_prepared = False
        # How many its Jobs run at a time, None: whatever a driver before this one wanted.
        self._limit: int | None = None
        self._not_before = 0.0

    @property
    def most(self) -> int:
        """Return how many one Job can have."""
        return arrays.MOST

    def room(self, most_running: int, busy: int) -> int:
        """Return how many jobs may be handed over: the Job itself holds them back."""
        self._hold_to(most_running)
        handed = self.running()
        if not most_running:
            return arrays.MOST - handed
        if not handed:
            return 0 if busy >= most_running else arrays.MOST
        return max(0, most_running - handed - busy)

    def begin(
        self, records: Sequence[JobRecord], most_running: int = 0, fresh: Container[str] = ()
    ) -> int:
        """Hand jobs over, and return how many. One alone is a job like any other.

        Raises as `perdure.jobs.launch.resume`. A driver before this one may have handed them over.
        """
        jobs = records[: arrays.MOST]
        if len(jobs) == 1:
            return super().begin(jobs, most_running, fresh)
        if not self._is_prepared:
            prepared(self._workspace, self._cluster, self._base)
            self._is_prepared = True
        elsewhere.send_trials(self._cluster.place, self._base, jobs)
        jobs = jobs[: free(self._cluster, jobs)]
        if not jobs:
            raise ConflictError(f"job `{records[0].job}` is already running")
        order = arrays.Order(
            self._base,
            f"{self._folder}/{secrets.token_hex(4)}",
            tuple(each.job for each in jobs),
            most_running,
        )
        submit_array(self._cluster, order, jobs, self._release)
        self._jobs |= {each.job: each.folder for each in jobs}
        return len(jobs)

    def _hold_to(self, most_running: int) -> None:
        """Have Jobs keep to what is wanted by now; a cluster that is not told is told later."""
        if most_running == self._limit or time.monotonic() < self._not_before:
            return
        try:
            throttle(self._cluster, self._base.sweep or "", most_running)
        except PerdureError:
            self._not_before = time.monotonic() + _AGAIN_S
            return
        self._limit = most_running
