"""What `clean results --on HOST` deletes here: how jobs stood that are deleted there.

A job of another host is listed here from a mirror of its run folder. With the job that goes as
well; but what was pulled of it is somebody's copy, and stays.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perdure.cli.moving import named_job

if TYPE_CHECKING:
    from perdure.jobs.clean import Deletable
    from perdure.jobs.workspace import Workspace
    from perdure.moving.clean import Doomed


@dataclass(slots=True)
class Chosen:
    """Which jobs go: those that are named, else those that are known here to have ended.

    `there` are the jobs that the host was found to have.
    """

    named: Collection[str]
    ended: Collection[str]
    before: float
    there: set[str] = field(default_factory=set)

    def __call__(self, name: str, newest: float) -> bool:
        """Return whether a job of the host goes whose newest file is of that time."""
        self.there.add(name)
        if newest > self.before or name.startswith("."):
            return False
        return name in (self.named or self.ended)


def chosen_jobs(workspace: Workspace, arguments: argparse.Namespace) -> Chosen:
    """Return which jobs go by what the user typed. Reads the disk, and asks hosts."""
    from perdure.jobs.ledger import statuses
    from perdure.model.job import ENDED

    named = {named_job(workspace, job) for job in arguments.jobs}
    before = time.time() - (arguments.older_than or 0)
    found = statuses(workspace, all=True)
    return Chosen(named, {each.record.job for each in found if each.state in ENDED}, before)


def with_mirrors(workspace: Workspace, target: str, there: Doomed, chosen: Chosen) -> list[Doomed]:
    """Return what goes there, and what goes here with it: deleted in this order."""
    from perdure.jobs.clean import mirrors
    from perdure.targets.station import known_station

    station = known_station(target, workspace.project.root, workspace.settings.targets[target])
    if station is None:
        return [there]  # no job was ever run there
    found = [each for each in mirrors(workspace, station) if _goes(each, there, chosen)]
    left: list[str] = []

    def delete_there() -> tuple[str, ...]:
        left.extend(there.delete())
        return tuple(left)

    return [
        replace(there, delete=delete_there),
        _doomed_here(found, lambda: _delete(workspace, found, left)),
    ]


def _goes(mirror: Deletable, there: Doomed, chosen: Chosen) -> bool:
    name, status = mirror.folder.name, mirror.status
    if name in chosen.there:
        return name in there.names
    # Deleted there before, by whatever means.
    return chosen(name, status.ended or status.last_event_at or 0.0)


def _doomed_here(found: Collection[Deletable], delete: Callable[[], tuple[str, ...]]) -> Doomed:
    from perdure.moving.clean import Doomed

    files = sum(1 for each in found for path in each.folder.rglob("*") if not path.is_dir())
    names = tuple(sorted(each.folder.name for each in found))
    return Doomed("results", "here", names, files, sum(each.bytes for each in found), delete)


def _delete(
    workspace: Workspace, found: Collection[Deletable], left: Collection[str]
) -> tuple[str, ...]:
    """Return the names of those that stay here, after the others were deleted."""
    from perdure.jobs.clean import delete

    gone = delete(workspace, [each for each in found if each.folder.name not in left]).jobs
    return tuple(each.folder.name for each in found if each.folder.name not in gone)
