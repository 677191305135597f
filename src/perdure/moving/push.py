"""A word pushed to a host."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from perdure.errors import StorageError
from perdure.hosts.progress import MIB, Progress
from perdure.moving import far, scripts
from perdure.moving.arrive import digests_here
from perdure.moving.entry import Entry, Folder, Kind, above
from perdure.moving.errand import Errand, alone
from perdure.moving.far import Far, Place
from perdure.moving.known import Seen, Stamp, read_known, write_known
from perdure.moving.outcome import Moved, grouped
from perdure.moving.plan import Plan, Question, Side, make_plan, settle
from perdure.moving.transport import to_there
from perdure.moving.walk import UNREADABLE, entry_at, list_here

# How often a file that changed while it was sent is sent again.
ROUNDS = 3
GONE = "gone while it was sent"
CHANGING = "still changing while it was sent; what was sent is there, push again"
_PUSHING = Side(pushing=True)


def push(errand: Errand, other: Far) -> Moved:
    """Return what went to a host. Touches the disks of both, and the network.

    What arrives is whole or not there; what a person edited there is kept beside.

    Raises:
        ConflictError: another perdure is at it.
        HostUnreachable: the connection was lost; the next attempt goes on where this one stopped.
        StorageError: no space there, or no permission.
    """
    if errand.dry:
        return _Push.planned(errand, other).told()
    with alone(errand):
        pushed = _Push.planned(errand, other)
        pushed.send()
        return pushed.told()


@dataclass(slots=True)
class _Push:
    errand: Errand
    place: Place
    near: Folder
    plan: Plan
    known: dict[str, Seen]
    arrived: dict[str, Stamp] = field(default_factory=dict)
    staged: Mapping[str, Entry] = field(default_factory=dict)
    sent: int = 0

    @classmethod
    def planned(cls, errand: Errand, other: Far) -> _Push:
        """Return what is to be done, decided from what both sides hold."""
        selection = errand.selection
        errand.report(f"looking at {selection.word} here and on {errand.where}")
        near = list_here(selection, follow=True)
        place = far.look(other, selection, make=not errand.dry)
        known = read_known(errand.known)
        there = far.list_there(place, selection)
        adds_only = selection.adds_only
        asked = Question(near, there, known, _PUSHING, selection.skip, adds_only)
        plan = make_plan(asked)
        if plan.unsure:
            settle(plan, asked, _equal(errand, place, plan))
        return cls(errand, place, near, plan, known)

    def send(self) -> None:
        """Send what is to be sent, and have it moved into place."""
        plan, word = self.plan, self.errand.selection.word
        if not plan.is_empty:
            self._check_space()
            self._fill()
            self._publish()
        self.known.update(plan.same)
        for path, stamp in self.arrived.items():
            self.known[path] = Seen(stamp, stamp)
        write_known(self.errand.known, self.known)
        self.errand.report(f"pushed {word}")

    def told(self) -> Moved:
        """Return what came of it."""
        errand, plan = self.errand, self.plan
        sizes = {path: entry.size for path, entry in self.near.entries.items()}
        arrived = plan.files if errand.dry else self.arrived
        kept = tuple(path for path in plan.displaced)
        notes = self.near.notes
        if self.place.is_link:
            notes += (
                f"`{errand.selection.word}` is a link on {errand.where}, to `{self.place.folder}`",
            )
        return Moved(
            errand.selection.word,
            errand.where,
            pushed=True,
            files=len(arrived) + len(plan.links),
            bytes=sum(sizes[path] for path in arrived),
            sent_bytes=self.sent,
            skipped=grouped(plan.skipped, sizes),
            kept=kept,
            kept_in=self._kept_in() if kept else None,
            notes=notes,
            dry=errand.dry,
            paths=tuple(sorted([*plan.files, *plan.links])),
        )

    def _check_space(self) -> None:
        free, needed = self.place.free_bytes, self.plan.bytes
        staged = sum(entry.size for entry in self._look_at_staging().values())
        if needed - staged > free:
            raise StorageError(
                f"{self.errand.selection.word} needs {_mib(needed - staged)} on "
                f"`{self.errand.where}`, where {_mib(free)} are free",
                hint=f"perdure clean results --on {self.errand.where}",
            )

    def _fill(self) -> None:
        """Fill the staging folder there, and send again what changed meanwhile."""
        errand, waiting = self.errand, dict(self.plan.files)
        message = f"pushing {errand.selection.word} to {errand.where}"
        progress = Progress(errand.report, message, self.plan.bytes)
        for attempt in range(ROUNDS):
            if waiting:
                self.sent += to_there(errand, self.place, waiting, progress)
                staged = self._look_at_staging()
                waiting = self._judge(waiting, staged, last=attempt == ROUNDS - 1)

    def _judge(
        self, sent: Mapping[str, Entry], staged: Mapping[str, Entry], *, last: bool
    ) -> dict[str, Entry]:
        """Note which files arrived as they are here now, and return those that changed."""
        again = {}
        for path, entry in sent.items():
            now, there = entry_at(self.errand.selection.near / path), staged.get(path)
            if now is not None and now.kind is Kind.LINK:
                now = _behind(self.errand, path)
            if now is None:
                self.plan.skipped[path] = GONE
            elif there is None:
                self.plan.skipped[path] = UNREADABLE
            elif now.stamp == entry.stamp == there.stamp:
                self.arrived[path] = there.stamp
            elif last:
                self.arrived[path] = there.stamp
                self.plan.skipped[path] = CHANGING
            else:
                again[path] = replace(entry, size=now.size, mtime_ns=now.mtime_ns)
        return again

    def _look_at_staging(self) -> Mapping[str, Entry]:
        self.staged = far.list_folder(self.place, self.place.staging).entries
        return self.staged

    def _publish(self) -> None:
        place, plan = self.place, self.plan
        what = f"{self.errand.selection.word} cannot be put into place"
        left = strangers(self.staged, {*self.arrived, *plan.links, *plan.folders})
        if left:
            place.must(what, scripts.DELETE, place.staging, stdin=far.listed(left))
        if plan.folders:
            folders = far.listed(plan.folders)
            place.must(what, scripts.MAKE, place.staging, stdin=folders)
        if plan.links:
            links = b"".join(
                target.encode("utf-8", "surrogateescape") + b"\0" + far.listed([path])
                for path, target in sorted(plan.links.items())
            )
            place.must(what, scripts.LINK, place.staging, stdin=links)
        displaced = [path for path in plan.displaced if self._takes_its_place(path)]
        if displaced:
            names = far.listed(displaced)
            place.must(what, scripts.DISPLACE, place.folder, self._kept_in(), stdin=names)
        plan.displaced = displaced
        place.must(what, scripts.PUBLISH, place.staging, place.folder)

    def _takes_its_place(self, path: str) -> bool:
        return path not in self.plan.files or path in self.arrived

    def _kept_in(self) -> str:
        return f"{self.place.root}/{self.errand.kept_below()}"


def strangers(staged: Mapping[str, Entry], wanted: Collection[str]) -> list[str]:
    """Return what of an earlier attempt lies in a staging folder and is wanted no more. Pure."""
    needed = {folder for path in wanted for folder in above(path)}.union(wanted)
    return [path for path in staged if path not in needed]


def _equal(errand: Errand, place: Place, plan: Plan) -> set[str]:
    """Return those of the unsure that have the same contents on both sides."""
    errand.report("comparing files of the same size")
    there = far.digests(place, plan.unsure)
    here = digests_here(errand.selection.near, plan.unsure)
    return {path for path in plan.unsure if path in here and here[path] == there.get(path)}


def _behind(errand: Errand, path: str) -> Entry | None:
    real = (errand.selection.near / path).resolve()
    return entry_at(real)


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"
