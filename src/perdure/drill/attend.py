"""A job that somebody waits for: it goes on while its host does not answer, and that is waited for.

What a drill and a demonstration do to it is asked again where the answer was lost, and done once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar

from perdure.errors import ConflictError
from perdure.jobs import folder as folders
from perdure.jobs import launch, mirror
from perdure.jobs.control import kill
from perdure.jobs.workspace import Workspace
from perdure.model.job import Event, JobRecord
from perdure.model.report import Report
from perdure.targets import patience
from perdure.targets.patience import patiently
from perdure.targets.place import Place

R = TypeVar("R")

_NOTHING: Mapping[str, str] = MappingProxyType({})
_KILL_S = 20.0


class Attended:
    """One job, of this machine or of another; `report` is told when its host is lost and back."""

    def __init__(self, workspace: Workspace, record: JobRecord, report: Report) -> None:
        self.record = record
        self._workspace = workspace
        self._report = report
        self._lost = False
        self.place: Place = launch.target_of(workspace, record).place

    def start(self, environment: Mapping[str, str] = _NOTHING) -> None:
        """Start it; raises as `launch.start`."""
        self._begin(lambda: launch.start(self._workspace, self.record, environment=environment))

    def resume(self, environment: Mapping[str, str] = _NOTHING) -> None:
        """Go on with it; raises as `launch.resume`."""
        self._begin(lambda: launch.resume(self._workspace, self.record, environment=environment))

    def while_it_runs(self, limit_s: float, poll_s: float) -> Iterator[bool]:
        """Yield again and again until its supervisor has ended: whether it may run on.

        Time during which its host is lost, or a scheduler lets it wait, does not count.
        """
        folder, looked = self.record.folder, time.monotonic()
        while (stands := folders.standing(folder)).alive or mirror.trouble(folder):
            self._look()
            yield limit_s > 0
            time.sleep(poll_s)
            before, looked = looked, time.monotonic()
            limit_s -= 0 if self._lost or stands.waits is not None else looked - before

    def do(self, act: Callable[[], R]) -> R:
        """Return what `act` returns, which may be done twice."""
        return patiently(self.place.host, self._report, act)

    def do_once(self, act: Callable[[], object], is_done: Callable[[], bool]) -> None:
        """Do what must not be done twice, unless its traces say that it is done."""

        def once() -> None:
            mirror.bring(self.record.folder)
            if not is_done():
                act()

        self.do(once)

    def kill(self) -> None:
        """End it if it runs; raises as `control.kill`."""
        kill(self.record.folder, timeout_s=_KILL_S)

    def history(self) -> list[Event]:
        """Return its events, as far as they are known here."""
        return folders.read_history(self.record.folder)

    def _begin(self, act: Callable[[], object]) -> None:
        """Begin an attempt, and no second one where only the answer was lost."""
        before = folders.claimed(self.record.folder)

        def has_begun() -> bool:
            return folders.claimed(self.record.folder) > before

        def begin() -> None:
            try:
                act()
            except ConflictError:
                if not has_begun():
                    raise

        self.do_once(begin, has_begun)

    def _look(self) -> None:
        lost = bool(mirror.trouble(self.record.folder))
        if lost != self._lost:
            name = folders.target_of(self.record.folder)
            self._report(patience.lost(name) if lost else patience.found(name))
        self._lost = lost
