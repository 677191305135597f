"""A word pushed to a bucket: objects side by side, then the manifest, then the mark: it counts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.hosts.progress import Progress
from perdure.moving.address import Address
from perdure.moving.arrive import conflict_name, writing
from perdure.moving.digest import digests_of
from perdure.moving.entry import Entry, Folder, above
from perdure.moving.errand import Errand, alone
from perdure.moving.journal import Journal
from perdure.moving.known import Seen, read_known, write_known
from perdure.moving.manifest import CONFLICTS, Manifest, Stored, key_of
from perdure.moving.outcome import Moved, grouped
from perdure.moving.plan import Plan, Question, Side, make_plan, settle
from perdure.moving.push import CHANGING, GONE, ROUNDS
from perdure.moving.shelf import Mark, Shelf, open_shelf
from perdure.moving.upload import Upload
from perdure.moving.walk import UNREADABLE, list_here

WORKERS = 8
_PUSHING = Side(pushing=True)


def push_to_bucket(errand: Errand, address: Address) -> Moved:
    """Return what went to a bucket. Touches the disk and the network.

    What is pulled meanwhile is what counted before, or nothing where that had to be replaced.

    Raises:
        ConflictError: another perdure is at it, here or elsewhere.
        UsageError: there is no such bucket.
        EnvironmentFailed: no credentials were found.
        StorageError: the bucket refuses.
        HostUnreachable: it does not answer; the next attempt goes on where this one stopped.
    """
    if errand.dry:
        return _Push.planned(errand, _dry_shelf(errand, address)).told()
    with alone(errand):
        pushed = _Push.planned(errand, open_shelf(address, errand.selection.word, make=True))
        pushed.send()
        return pushed.told()


def _dry_shelf(errand: Errand, address: Address) -> Shelf:
    word = errand.selection.word
    if address.provider == "file" and not Path(address.folder).is_dir():
        from obstore.store import MemoryStore

        return Shelf(address, MemoryStore(), word)
    return open_shelf(address, word, make=False)


def in_the_way(base: Manifest, plan: Plan) -> list[str]:
    """Return the files of a manifest that stand where something of another kind goes. Pure."""
    wanted = {*plan.files, *plan.links}
    folders = {folder for path in wanted for folder in above(path)}.union(plan.folders)
    return [
        path
        for path in base.files
        if path in folders or path in plan.links or any(each in wanted for each in above(path))
    ]


@dataclass(slots=True)
class _Push:
    errand: Errand
    shelf: Shelf
    mark: Mark | None
    # What a push left that has not ended.
    broken: Mark | None
    base: Manifest
    near: Folder
    plan: Plan
    known: dict[str, Seen]
    arrived: dict[str, Stored] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    sent: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def planned(cls, errand: Errand, shelf: Shelf) -> _Push:
        """Return what is to be done, decided from what is here and what counts there."""
        selection = errand.selection
        errand.report(f"looking at {selection.word} here and in {errand.where}")
        mark = shelf.committed()
        broken = shelf.pushing() if mark is None else None
        base = shelf.manifest(mark or broken)
        for path in broken.touched if broken else ():
            # Nobody knows what these hold now.
            base.files.pop(path, None)
        near = list_here(selection, follow=True)
        known = read_known(errand.known)
        skip, adds_only = selection.skip, selection.adds_only
        asked = Question(near, base.as_folder(), known, _PUSHING, skip, adds_only)
        plan = make_plan(asked)
        if plan.unsure:
            here = digests_of(selection.near, plan.unsure)
            settle(plan, asked, [p for p in plan.unsure if here.get(p) == base.files[p].digest])
        return cls(errand, shelf, mark, broken, base, near, plan, known)

    def send(self) -> None:
        """Send what is to be sent, then have it count."""
        if not self.plan.is_empty or self.broken:
            blocking = in_the_way(self.base, self.plan)
            replaced = [path for path in self.plan.files if path in self.base.files]
            touched = {*replaced, *blocking, *(self.broken.touched if self.broken else ())}
            self.shelf.begin(self._old(), touched)
            if self.mark is not None and touched:
                self.shelf.uncommit()
            self._displace(blocking)
            self._upload()
            self._commit(None if touched else self.mark)
        with writing(self.errand.known):
            self.known.update(self.plan.same)
            write_known(self.errand.known, self.known)

    def told(self) -> Moved:
        """Return what came of it."""
        errand, plan = self.errand, self.plan
        sizes = {path: entry.size for path, entry in self.near.entries.items()}
        kept = tuple(plan.displaced if errand.dry else self.kept)
        paths = plan.files if errand.dry else self.arrived
        return Moved(
            errand.selection.word,
            errand.where,
            pushed=True,
            files=len(paths) + len(plan.links),
            bytes=sum(sizes[path] for path in paths),
            sent_bytes=self.sent,
            skipped=grouped(plan.skipped, sizes),
            kept=kept,
            kept_in=f"{self.shelf.where}/{self._kept_in()}" if kept else None,
            notes=self.near.notes,
            dry=errand.dry,
            paths=tuple(sorted([*plan.files, *plan.links])),
        )

    def _old(self) -> str | None:
        mark = self.mark or self.broken
        return mark.manifest if mark else None

    def _kept_in(self) -> str:
        return f"{CONFLICTS}/{conflict_name(self.errand.clock())}"

    def _displace(self, blocking: list[str]) -> None:
        """Keep what somebody else pushed and what is replaced now, and clear the way."""
        edited = {path for path in self.plan.displaced if path in self.base.files}
        self.kept = sorted(edited.union(blocking))
        for path in self.kept:
            self.shelf.keep(path, self._kept_in())
        for path in blocking:
            del self.base.files[path]
        self.shelf.delete([key_of(self.shelf.word, path) for path in blocking])

    def _upload(self) -> None:
        errand = self.errand
        message = f"pushing {errand.selection.word} to {errand.where}"
        progress = Progress(errand.report, message, self.plan.bytes)
        with writing(errand.state), Journal(errand.known.with_suffix(".sent")) as journal:
            self.arrived = self._done_before(journal)
            progress.add(sum(each.size for each in self.arrived.values()))
            waiting = {p: each for p, each in self.plan.files.items() if p not in self.arrived}
            with ThreadPoolExecutor(WORKERS) as pool:
                tasks = [
                    pool.submit(self._send, path, entry, journal, progress)
                    for path, entry in waiting.items()
                ]
                try:
                    for task in tasks:
                        task.result()
                except BaseException:
                    self.stopping.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def _done_before(self, journal: Journal) -> dict[str, Stored]:
        """Return the files that a broken attempt sent, if bucket and disk still have them so."""
        noted = {str(line[0]): line for line in journal.lines() if len(line) == 5}
        there = self.shelf.objects() if noted else {}
        done = {}
        for path, entry in self.plan.files.items():
            line, found = noted.get(path), there.get(key_of(self.shelf.word, path))
            if not (line and found and (line[1], line[2]) == entry.stamp):
                continue
            # Azure answers with tags in quotes, and lists them without.
            if str(line[4]).strip('"') == str(found.tag).strip('"'):
                done[path] = Stored(*entry.stamp, entry.mode, str(line[3]))
        return done

    def _send(self, path: str, entry: Entry, journal: Journal, progress: Progress) -> None:
        """Send one file, again if it changed meanwhile."""
        file, key = self.errand.selection.near / path, key_of(self.shelf.word, path)
        for left in reversed(range(ROUNDS)):
            try:
                upload = Upload(file, progress, self.stopping)
                with upload:
                    tag = upload.put(self.shelf, key)
            except (FileNotFoundError, PermissionError) as error:
                is_gone = isinstance(error, FileNotFoundError)
                self.plan.skipped[path] = GONE if is_gone else UNREADABLE
                return
            self.sent += upload.bytes
            if upload.is_steady or not left:
                if not upload.is_steady:
                    self.plan.skipped[path] = CHANGING
                stored = Stored(upload.bytes, upload.before[1], entry.mode, upload.digest)
                self.arrived[path] = stored
                journal.add(path, stored.size, stored.mtime_ns, stored.digest, tag)
                return

    def _commit(self, before: Mark | None) -> None:
        base, plan = self.base, self.plan
        base.files |= self.arrived
        base.links |= plan.links
        base.folders = sorted({*base.folders, *plan.folders}.difference(base.files, base.links))
        plan.same = {path: self._same_now(path, base.files) for path in plan.same}
        self.shelf.commit(base, before, self._old())
        for path, stored in self.arrived.items():
            stamp = (stored.size, stored.mtime_ns)
            self.known[path] = Seen(stamp, stamp)
        Journal(self.errand.known.with_suffix(".sent")).forget()

    def _same_now(self, path: str, files: dict[str, Stored]) -> Seen:
        """Return what is known of a file whose time in the manifest becomes the one it has here."""
        entry = self.near.entries[path]
        files[path] = replace(files[path], mtime_ns=entry.mtime_ns)
        return Seen(entry.stamp, entry.stamp)
