"""A word pulled from a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perdure.errors import UsageError
from perdure.hosts.progress import Progress
from perdure.moving import far
from perdure.moving.arrive import Arriving, check_space, digests_here, writing
from perdure.moving.entry import Entry, Folder
from perdure.moving.errand import Errand, alone
from perdure.moving.far import Far, Place
from perdure.moving.known import Seen, Stamp, read_known, write_known
from perdure.moving.outcome import Moved, grouped
from perdure.moving.plan import Plan, Question, Side, make_plan, settle
from perdure.moving.push import ROUNDS
from perdure.moving.selection import Selection
from perdure.moving.transport import to_here
from perdure.moving.walk import entry_at, list_here
from perdure.runtime import names

GONE = "gone there meanwhile"
UNREADABLE = "cannot be read there"
IGNORED = "ignored by git here"
CHANGING = "still changing there while it was fetched; what was fetched is here, pull again"
_PULLING = Side(pushing=False)


def pull(errand: Errand, other: Far) -> Moved:
    """Return what came from a host. Touches the disks of both, and the network.

    What arrives is whole or not there; what was edited here is kept beside.

    Raises:
        UsageError: there is nothing of the project there.
        ConflictError: another perdure is at it.
        HostUnreachable: the connection was lost; the next attempt goes on where this one stopped.
        StorageError: no space here, or no permission.
    """
    if errand.dry:
        return _Pull.planned(errand, other).told()
    with alone(errand):
        pulled = _Pull.planned(errand, other)
        pulled.fetch()
        return pulled.told()


@dataclass(slots=True)
class _Pull:
    errand: Errand
    place: Place
    near: Folder
    there: Folder
    plan: Plan
    known: dict[str, Seen]
    arriving: Arriving
    arrived: dict[str, Stamp] = field(default_factory=dict)
    sent: int = 0

    @classmethod
    def planned(cls, errand: Errand, other: Far) -> _Pull:
        """Return what is to be done, decided from what both sides hold."""
        selection = errand.selection
        errand.report(f"looking at {selection.word} here and on {errand.where}")
        place = far.look(other, selection, make=False)
        if not place.exists:
            raise UsageError(
                f"nothing to pull: `{errand.where}` has no folder `{place.folder}`",
                hint=f"perdure push {selection.word} --on {errand.where}",
            )
        there = _without_ignored(selection, far.list_there(place, selection))
        near = list_here(selection, follow=False)
        known = read_known(errand.known)
        asked = Question(there, near, known, _PULLING, selection.skip)
        plan = make_plan(asked)
        _refuse_links_out(plan)
        if plan.unsure:
            settle(plan, asked, _equal(errand, place, plan))
        kept_in = errand.root / errand.kept_below()
        arriving = Arriving(errand.staging, selection.near, kept_in)
        return cls(errand, place, near, there, plan, known, arriving)

    def fetch(self) -> None:
        """Fetch what is to be fetched, and move it into place."""
        plan = self.plan
        if not plan.is_empty:
            with writing(self.errand.staging):
                self.errand.staging.mkdir(parents=True, exist_ok=True)
                check_space(self.errand.selection.word, self.errand.staging, plan.files)
                self._fill()
                self._leave_torn_checkpoints()
            self.arriving.publish(plan, self.near.entries, self.arrived)
        self.known.update(plan.same)
        for path, stamp in self.arrived.items():
            self.known[path] = Seen(stamp, stamp)
        with writing(self.errand.known):
            write_known(self.errand.known, self.known)

    def told(self) -> Moved:
        """Return what came of it."""
        errand, plan = self.errand, self.plan
        sizes = {path: entry.size for path, entry in self.there.entries.items()}
        kept = tuple(plan.displaced if errand.dry else self.arriving.kept)
        arrived = plan.files if errand.dry else self.arrived
        return Moved(
            errand.selection.word,
            errand.where,
            pushed=False,
            files=len(arrived) + len(plan.links),
            bytes=sum(sizes[path] for path in arrived),
            sent_bytes=self.sent,
            skipped=grouped(plan.skipped, sizes),
            kept=kept,
            kept_in=str(self.arriving.kept_in) if kept else None,
            notes=self.near.notes,
            dry=errand.dry,
            paths=tuple(sorted([*plan.files, *plan.links])),
        )

    def _fill(self) -> None:
        """Fill the staging folder here, and fetch again what changed there meanwhile."""
        errand, waiting = self.errand, dict(self.plan.files)
        message = f"pulling {errand.selection.word} from {errand.where}"
        progress = Progress(errand.report, message, self.plan.bytes)
        for attempt in range(ROUNDS):
            if not waiting:
                return
            self.sent += to_here(errand, self.place, waiting, progress)
            now = far.list_there(self.place, errand.selection).entries
            last = errand.selection.is_alive or attempt == ROUNDS - 1
            waiting = self._judge(waiting, now, last=last)

    def _judge(
        self, asked: Mapping[str, Entry], now: Mapping[str, Entry], *, last: bool
    ) -> dict[str, Entry]:
        """Note which files arrived as they are there now, and return those that changed."""
        again = {}
        for path, entry in asked.items():
            there, here = now.get(path), entry_at(self.errand.staging / path)
            if there is None:
                self.plan.skipped[path] = GONE
            elif here is None:
                self.plan.skipped[path] = UNREADABLE
            elif there.stamp == entry.stamp == here.stamp:
                self.arrived[path] = here.stamp
            elif last:
                self.arrived[path] = here.stamp
                if not self.errand.selection.is_alive:
                    self.plan.skipped[path] = CHANGING
            else:
                again[path] = there
        return again

    def _leave_torn_checkpoints(self) -> None:
        """Leave out the checkpoints that a job deleted while they were fetched: all of each."""
        torn = {
            folder
            for path, why in self.plan.skipped.items()
            if why == GONE and (folder := _checkpoint_of(path))
        }
        for path in [each for each in self.arrived if _checkpoint_of(each) in torn]:
            del self.arrived[path]
            self.plan.skipped[path] = GONE
        self.plan.folders = [each for each in self.plan.folders if each not in torn]


def _checkpoint_of(path: str) -> str | None:
    parts = path.split("/")
    return "/".join(parts[:3]) if len(parts) > 3 and parts[1] == names.CHECKPOINTS else None


def _without_ignored(selection: Selection, there: Folder) -> Folder:
    if selection.ignored is None:
        return there
    paths = [path for path in there.entries if selection.skip(path) is None]
    refused = dict.fromkeys(selection.ignored(paths), IGNORED)
    return Folder(there.entries, {**there.refused, **refused}, there.notes)


def _refuse_links_out(plan: Plan) -> None:
    from perdure.moving.entry import leads_out
    from perdure.moving.walk import OUTSIDE

    for path, target in [*plan.links.items()]:
        if leads_out(path, target):
            del plan.links[path]
            plan.displaced = [each for each in plan.displaced if each != path]
            plan.skipped[path] = OUTSIDE


def _equal(errand: Errand, place: Place, plan: Plan) -> set[str]:
    """Return those of the unsure that have the same contents on both sides."""
    errand.report("comparing files of the same size")
    there = far.digests(place, plan.unsure)
    here = digests_here(errand.selection.near, plan.unsure)
    return {path for path in plan.unsure if path in here and here[path] == there.get(path)}
