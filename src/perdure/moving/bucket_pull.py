"""A word pulled from a bucket: what its manifest says, into staging, then into place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perdure.errors import ConflictError, UsageError
from perdure.hosts.progress import Progress
from perdure.moving.address import Address
from perdure.moving.arrive import Arriving, check_space, writing
from perdure.moving.digest import digests_of
from perdure.moving.entry import Entry, Folder, leads_out
from perdure.moving.errand import Errand, alone
from perdure.moving.journal import Journal
from perdure.moving.known import Seen, read_known, write_known
from perdure.moving.manifest import Manifest, Stored
from perdure.moving.outcome import Moved, grouped
from perdure.moving.parts import LOST, Fetch
from perdure.moving.plan import Plan, Question, Side, make_plan, settle
from perdure.moving.shelf import Shelf, open_shelf
from perdure.moving.walk import OUTSIDE, list_here

_PULLING = Side(pushing=False)


def pull_from_bucket(errand: Errand, address: Address) -> Moved:
    """Return what came from a bucket. Touches the disk and the network.

    What arrives is whole, and has the digest that was written when it was pushed; what was edited
    here is kept beside.

    Raises:
        UsageError: there is no such bucket, or nothing was pushed there.
        ConflictError: the last push has not ended, or another perdure is at it here.
        EnvironmentFailed: no credentials were found.
        StorageError: the bucket or the disk refuses, or an object is not what was pushed.
        HostUnreachable: it does not answer; the next attempt goes on where this one stopped.
    """
    shelf = open_shelf(address, errand.selection.word, make=False)
    if errand.dry:
        return _Pull.planned(errand, shelf).told()
    with alone(errand):
        pulled = _Pull.planned(errand, shelf)
        pulled.fetch()
        return pulled.told()


@dataclass(slots=True)
class _Pull:
    errand: Errand
    shelf: Shelf
    manifest: Manifest
    near: Folder
    plan: Plan
    known: dict[str, Seen]
    arriving: Arriving
    arrived: dict[str, Stored] = field(default_factory=dict)
    sent: int = 0

    @classmethod
    def planned(cls, errand: Errand, shelf: Shelf) -> _Pull:
        """Return what is to be done, decided from what counts there and what is here."""
        selection = errand.selection
        errand.report(f"looking at {selection.word} here and in {errand.where}")
        manifest = _counting(shelf)
        near = list_here(selection, follow=False)
        known = read_known(errand.known)
        there = manifest.as_folder()
        out = {p: OUTSIDE for p, target in manifest.links.items() if leads_out(p, target)}
        asked = Question(Folder(there.entries, out), near, known, _PULLING, selection.skip)
        plan = make_plan(asked)
        if plan.unsure:
            here = digests_of(selection.near, plan.unsure)
            same = [p for p in plan.unsure if here.get(p) == manifest.files[p].digest]
            settle(plan, asked, same)
        kept_in = errand.root / errand.kept_below()
        arriving = Arriving(errand.staging, selection.near, kept_in)
        return cls(errand, shelf, manifest, near, plan, known, arriving)

    def fetch(self) -> None:
        """Fetch what is to be fetched, and move it into place."""
        errand, plan = self.errand, self.plan
        if not plan.is_empty:
            with writing(errand.staging):
                errand.staging.mkdir(parents=True, exist_ok=True)
                check_space(errand.selection.word, errand.staging, plan.files)
                self._fill()
            self.arriving.publish(plan, self.near.entries, self.arrived)
            Journal(errand.known.with_suffix(".parts")).forget()
        self.known.update(plan.same)
        for path, stored in self.arrived.items():
            stamp = (stored.size, stored.mtime_ns)
            self.known[path] = Seen(stamp, stamp)
        with writing(errand.known):
            write_known(errand.known, self.known)

    def told(self) -> Moved:
        """Return what came of it."""
        errand, plan = self.errand, self.plan
        sizes = {path: each.size for path, each in self.manifest.files.items()}
        kept = tuple(plan.displaced if errand.dry else self.arriving.kept)
        arrived: Mapping[str, Stored | Entry] = plan.files if errand.dry else self.arrived
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
        errand = self.errand
        wanted = {path: self.manifest.files[path] for path in self.plan.files}
        message = f"pulling {errand.selection.word} from {errand.where}"
        progress = Progress(errand.report, message, self.plan.bytes)
        fetch = Fetch(self.shelf, errand.staging, progress)
        with Journal(errand.known.with_suffix(".parts")) as journal:
            fetch.all(wanted, journal)
        self.sent = fetch.sent
        self.arrived = {path: each for path, each in wanted.items() if path not in fetch.lost}
        for path in fetch.lost:
            self.plan.skipped[path] = LOST


def _counting(shelf: Shelf) -> Manifest:
    """Return the manifest that counts.

    Raises:
        ConflictError: a push has begun, and not ended.
        UsageError: there was none.
    """
    mark = shelf.committed()
    if mark is not None:
        return shelf.manifest(mark)
    if shelf.pushing() is not None:
        raise ConflictError(
            f"the last push to `{shelf.where}` has not ended, so what is there does not count",
            hint=f"perdure push {shelf.word} --on {shelf.address}, where it was pushed from",
        )
    raise UsageError(
        f"nothing was pushed to `{shelf.where}`",
        hint=f"perdure push {shelf.word} --on {shelf.address}",
    )
