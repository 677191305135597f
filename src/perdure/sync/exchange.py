"""Both sides brought together over a channel: compare, plan, send, and believe what is answered.

What both sides are thought to have advances only by an answer. Nothing here waits: whoever holds
the exchange hands it what came, and lets it go on.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from perdure.errors import PerdureError, StorageError
from perdure.model.code import CLUTTER, NEVER
from perdure.sync.channel import Channel
from perdure.sync.far.frames import Blob, Header
from perdure.sync.far.tree import Entry
from perdure.sync.fetching import Fetcher
from perdure.sync.plan import (
    ABSENT,
    Action,
    Do,
    Refusal,
    Sides,
    collisions,
    decide,
    refuse_bulk,
    same,
)
from perdure.sync.sending import WINDOW_BYTES, Sender
from perdure.sync.trees import Trees
from perdure.sync.work import Flights, Sent, Work

# Deletions so close to each other are one.
_TOGETHER_S = 30.0


class Exchange:
    """One tree here and one there. Begun anew with every connection."""

    def __init__(self, trees: Trees) -> None:
        self.trees = trees
        self.refused: Refusal | None = None
        self.root_there = ""
        self.channel: Channel | None = None
        self._work = Work()
        self._flights = Flights()
        self._sender = Sender(trees, self._work, self._flights)
        self._fetcher = Fetcher(trees, self._work)
        #: The number of the look at the other side that this began with.
        self.first_look = 0
        self._asked = self._looked = 0
        self._deletions: deque[tuple[float, int]] = deque()

    @property
    def is_idle(self) -> bool:
        """Return whether both sides are compared, and nothing is left to do or to be answered."""
        busy = self._work or self._flights or self._fetcher.fetching or self._sender.uploading
        return self.is_ready and not busy

    @property
    def is_answer_due(self) -> bool:
        """Return whether the other side owes a word: of what it has, or of what it was sent."""
        looking = self.channel is not None and self._looked < self._asked
        return bool(looking or self._flights or self._fetcher.fetching)

    @property
    def left(self) -> int:
        """Return how many files wait to be dealt with."""
        return len(self._work)

    @property
    def is_ready(self) -> bool:
        """Return whether it is known what the other side has."""
        return self.channel is not None and self._looked >= self.first_look

    def begin(self, channel: Channel, root: str, mark: str) -> None:
        """Say over a new connection what is here; what is there comes as frames.

        Raises:
            Lost: the connection is.
        """
        self.end()
        trees = self.trees
        hello = {"op": "hello", "root": root, "mark": mark, "pull": trees.rules.pull}
        channel.send({**hello, "never": NEVER, "hidden": sorted(CLUTTER)})
        trees.local = trees.scanner.everything(self._known())
        trees.tidy()
        self.channel = channel
        self._looked = 0
        self.first_look = self._asked = self._sender.next_number()

    def end(self) -> None:
        """Let go of the connection: no answer will come any more."""
        self.channel = None
        self._work.clear()
        self._flights.clear()
        self._sender.reset()
        self._fetcher.reset()
        self.trees.state.flush()

    def handle(self, header: Header, data: Blob) -> None:
        """Take a frame from the other side."""
        op = header.get("op")
        if op == "done":
            self._answered(header)
        elif op == "seen":
            self._saw(int(header["n"]), header["changes"], header["kept"])
        elif op == "file":
            self._fetcher.take(header, data)
        elif op == "hello":
            self._compare(header)
        elif op == "failed":
            raise StorageError(f"cannot write to `{header['where']}` there: {header['why']}")
        elif op not in ("pong", "busy"):
            raise PerdureError(f"the other end says `{op}`, which nobody understands")
        self._plan_doubtful()

    def rescan(self, *, again: bool = True) -> None:
        """Look at the whole tree here, and plan for it. `again`: also what failed before."""
        trees = self.trees
        if again:
            trees.problems.clear()
        trees.local = trees.scanner.everything(self._known())
        if self.is_ready:
            self._plan_all()

    def look_there(self) -> int:
        """Ask for what changed there; return the number that `has_looked` is asked for."""
        assert self.channel is not None
        self._asked = number = self._sender.next_number()
        self.channel.send({"op": "scan", "n": number})
        return number

    def has_looked(self, number: int) -> bool:
        """Return whether the answer to a `look_there` has come."""
        return self._looked >= number

    def hint(self, paths: Iterable[str]) -> None:
        """Look at some paths here, and at what is below them, and plan for them."""
        touched: set[str] = set()
        for path in paths:
            known = self._known_at(path)
            view = self.trees.scanner.part(path, known)
            local = self.trees.local
            for each in known:
                local.files.pop(each, None)
                local.held.pop(each, None)
            local.files.update(view.files)
            local.held.update(view.held)
            local.folders.update(view.folders)
            touched.update(known, view.files)
        if self.is_ready:
            self._plan(touched)

    def go_on(self) -> None:
        """Send what there is room for.

        Raises:
            Lost: the connection is.
        """
        channel = self.channel
        while channel is not None and self.is_ready and self._flights.bytes < WINDOW_BYTES:
            sent = self._sender.send_some(channel)
            fetched = self._fetcher.fetch_some(channel)
            self._plan_doubtful()
            if not sent and not fetched:
                return

    def planned(self) -> list[Action]:
        """Return what is to be done, every file here read: for those who only ask."""
        for path in [*self._work.small]:
            entry = self.trees.reader.read(path)
            if entry is not None:
                self.trees.local.files[path] = entry
        self._plan([*self._work.small])
        work = self._work
        queues = (work.first, work.small, work.large, work.fetch, work.last)
        return [action for queue in queues for action in queue.values()]

    def _compare(self, header: Header) -> None:
        """Say what both sides had, now that the other one is there; it answers what differs."""
        trees = self.trees
        assert self.channel is not None
        trees.folding = bool(header["folding"])
        self.root_there = str(header["root"])
        trees.remote = dict(trees.state.base)
        if header["empty"] and not (trees.state.base or trees.state.unanswered()):
            # What somebody puts there from now on is found in the way, and kept.
            self.channel.send({"op": "look", "n": self.first_look, "paths": []})
            return
        # What was sent and not answered may be there, even where it is deleted here by now.
        sent = dict.fromkeys([*trees.state.unanswered(), *trees.local.files])
        paths = {**sent, **trees.state.base}
        told = [(path, entry.digest if entry else None) for path, entry in paths.items()]
        self.channel.send({"op": "look", "n": self.first_look, "paths": told})

    def _known(self) -> list[str]:
        """Return the paths that are looked for here even where they are no code."""
        trees = self.trees
        base = trees.state.base
        coming = [p for p in trees.remote if p not in base and trees.scanner.comes_back(p)]
        return [*base, *coming]

    def _known_at(self, path: str) -> list[str]:
        trees = self.trees
        if path in trees.local.files or path in trees.local.held:
            return [path]
        prefix = path + "/"
        known = {**trees.state.base, **trees.local.files, **trees.local.held}
        below = [each for each in known if each.startswith(prefix)]
        return [*below, path] if path in trees.state.base else below

    def _plan_all(self) -> None:
        trees = self.trees
        files, base, remote = trees.local.files, trees.state.base, trees.remote
        paths = [p for p, e in files.items() if remote.get(p) != e or base.get(p) != e]
        paths += [path for path in base if path not in files]
        paths += [path for path in remote if path not in base and path not in files]
        self._work.clear()
        self.refused = None
        self._plan(paths)

    def _plan(self, paths: Iterable[str]) -> None:
        trees = self.trees
        taken = collisions(trees.local.files) if trees.folding else {}
        actions = []
        for path in sorted(paths):
            if path in taken:
                trees.local.held[path] = f"has the name of `{taken[path]}` where case is one"
                trees.local.files.pop(path, None)
            action = self._decide(path)
            if action is None:
                self._work.drop(path)
            elif action.do is Do.AGREE:
                self._work.drop(path)
                trees.state.agreed(path, trees.local.files.get(path))
            else:
                actions.append(action)
        self._work.add(self._without_accidents(actions), folding=trees.folding)

    def _decide(self, path: str) -> Action | None:
        trees = self.trees
        busy = path in (self._fetcher.fetching, self._sender.uploading)
        if busy or path in trees.local.held or path in trees.problems:
            return None
        local, base = trees.local.files.get(path), trees.state.base.get(path)
        remote = trees.remote.get(path)
        if base is None and remote is None and path not in self._flights:
            # The case of a first copy: there is nothing to weigh.
            return None if local is None else Action(Do.PUT, path)
        both_ways = trees.scanner.comes_back(path)
        if path in self._flights:
            remote = self._flights.expected(path)
            if same(local, remote) and (local is None or remote is None or local == remote):
                return None
        elif local is not None and not local.digest and (both_ways or (remote and base is None)):
            # What comes back may have been deleted there: then it matters whether it changed here.
            local = self._read(path)
        action = decide(
            path, Sides(base, local, remote), trees.state.ours(path), both_ways=both_ways
        )
        in_flight = action is not None and action.do is Do.AGREE and path in self._flights
        return None if in_flight else action

    def _read(self, path: str) -> Entry | None:
        trees = self.trees
        try:
            entry = trees.reader.read(path)
        except OSError:
            entry = None
        if entry is None:
            self._sender.vanished.add(path)
            return trees.local.files.get(path)
        trees.local.files[path] = entry
        return entry

    def _without_accidents(self, actions: list[Action]) -> list[Action]:
        """Return the actions without deletions that look like an accident, on either side."""
        trees = self.trees
        if trees.rules.deletes_much:
            return actions
        now = time.monotonic()
        while self._deletions and self._deletions[0][0] < now - _TOGETHER_S:
            self._deletions.popleft()
        before = sum(count for _, count in self._deletions)
        known, left = len(trees.state.base), len(trees.local.files)
        actions, refused = refuse_bulk(actions, known=known, left=left, before=before)
        count = sum(action.do is Do.DELETE for action in actions)
        if count:
            self._deletions.append((now, count))
        unfetched = None
        if any(action.do is Do.REMOVE for action in actions):
            coming = sum(1 for path in trees.state.base if trees.scanner.comes_back(path))
            actions, unfetched = refuse_bulk(
                actions, known=coming, left=len(trees.remote), do=Do.REMOVE
            )
        found = refused or unfetched
        if found is not None:
            if self.refused is None:
                where = "there" if found.there else "here"
                trees.tell(f"{len(found.paths)} of {found.of} files would be deleted {where}")
            self.refused = found
        return actions

    def _saw(self, number: int, changes: Mapping[str, Any], kept: Iterable[Any]) -> None:
        """Take what is there that was not known to be."""
        trees = self.trees
        for path, told in changes.items():
            if told is None:
                trees.remote.pop(path, None)
            else:
                trees.remote[path] = Entry(str(told[0]), str(told[1]), int(told[2]))
        trees.note_kept(here=False, paths=[(str(p), str(place)) for p, place in kept])
        self._looked = max(self._looked, number)
        if number == self.first_look:
            if trees.state.base and not any(path in trees.remote for path in trees.state.base):
                trees.tell("nothing is left there: everything is sent again")
                trees.state.forget_all()
            self._forget_what_never_came()
            self._plan_all()
        elif self.is_ready:
            self._plan([path for path in changes if path not in self._flights])

    def _forget_what_never_came(self) -> None:
        """Know no more of what was sent before, is not there, and is wanted no longer."""
        trees = self.trees
        for path in trees.state.unanswered():
            if not any(
                path in side for side in (trees.remote, trees.state.base, trees.local.files)
            ):
                trees.state.agreed(path, None)

    def _answered(self, header: Header) -> None:
        trees = self.trees
        failed = {str(path): str(why) for path, why, _ in header["not"]}
        for each in self._flights.answered(int(header["n"])):
            if each.path not in failed:
                self._settle(each)
        for path, why in failed.items():
            trees.problems[path] = f"cannot be written there: {why}"
            if self._sender.uploading == path and self.channel is not None:
                self._sender.give_up(self.channel)
        trees.note_kept(here=False, paths=[(str(p), str(place)) for p, place in header["kept"]])

    def _settle(self, sent: Sent) -> None:
        """Believe that the other side has what it was sent."""
        trees, (path, entry, only_mode) = self.trees, sent
        if only_mode:
            # Of the contents nothing was said: they may have been changed there since.
            if same(trees.remote.get(path), entry):
                trees.state.agreed(path, entry)
            self._sender.vanished.add(path)
            return
        trees.state.agreed(path, entry, ABSENT if entry is None else entry.digest)
        trees.problems.pop(path, None)
        if entry is None:
            trees.remote.pop(path, None)
            trees.tally.deleted += 1
            return
        trees.remote[path] = entry
        trees.tally.sent += 1

    def _plan_doubtful(self) -> None:
        paths = self._sender.vanished | self._fetcher.doubtful
        if paths:
            self._sender.vanished.clear()
            self._fetcher.doubtful.clear()
            self.hint(sorted(paths))


def new_mark() -> str:
    """Return a name for a session that no other has."""
    return os.urandom(6).hex()
