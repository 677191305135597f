"""What comes from the other side: files that go both ways, one after the other."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any

from perdure.sync.channel import Channel
from perdure.sync.far.folders import Refused
from perdure.sync.far.frames import Blob, Header
from perdure.sync.far.landing import Changed, Draft
from perdure.sync.far.tree import DIGEST_LENGTH, FILE, LINK, Entry
from perdure.sync.plan import Action, Do
from perdure.sync.trees import Trees
from perdure.sync.work import Work


class Fetcher:
    """Carries out what changes this side. `doubtful` are paths that are not as was thought."""

    def __init__(self, trees: Trees, work: Work) -> None:
        self.doubtful: set[str] = set()
        self._trees = trees
        self._work = work
        self._path: str | None = None
        self._draft: Draft | None = None
        self._digest: Any = None

    @property
    def fetching(self) -> str | None:
        """Return the path that is on its way here."""
        return self._path

    def reset(self) -> None:
        """Forget what was on its way: the connection is another one."""
        if self._draft is not None:
            self._trees.ground.discard(self._draft)
        self._path = self._draft = self._digest = None

    def fetch_some(self, channel: Channel) -> bool:
        """Ask for a file, or delete one here; return False if there is nothing to do."""
        if self._path is not None or not self._work.fetch:
            return False
        path = next(iter(self._work.fetch))
        action = self._work.fetch.pop(path)
        if action.do is Do.REMOVE:
            self._remove(action)
            return True
        self._path = path
        channel.send({"op": "get", "path": path, "most": self._trees.rules.largest_bytes})
        return True

    def take(self, header: Header, data: Blob) -> None:
        """Take a piece of the file that is on its way, and put it in its place at the end."""
        path = str(header["path"])
        if path != self._path:
            return
        if header.get("gone"):
            self._trees.remote.pop(path, None)
            self.doubtful.add(path)
            self.reset()
            return
        if "why" in header:
            self._end(path, f"cannot be fetched: {header['why']}")
            return
        facts = header.get("entry")
        try:
            if facts is None:
                self._write(path, data)
                return
            kind, digest, mode, mtime_ns = facts
            self._land(path, Entry(kind, digest, mode), mtime_ns, data)
        except Changed:
            self.doubtful.add(path)
        except (Refused, OSError) as error:
            words = error.strerror if isinstance(error, OSError) else None
            self._end(path, f"cannot be written here: {(words or str(error)).lower()}")
            return
        finally:
            self._trees.ground.release()
        self.reset()

    def _write(self, path: str, data: Blob) -> None:
        if self._draft is None:
            self._draft = self._trees.ground.begin(path)
            self._digest = hashlib.sha256()
        left = memoryview(data)
        while left:
            left = left[os.write(self._draft.fd, left) :]
        self._digest.update(data)

    def _land(self, path: str, entry: Entry, mtime_ns: int, data: Blob) -> None:
        trees = self._trees
        base = trees.state.base.get(path)
        expected = [] if base is None else [base.digest]
        if entry.kind == LINK:
            trees.ground.link(path, os.fsdecode(bytes(data)), entry, expected)
        else:
            self._write(path, b"")
            assert self._draft is not None
            if self._digest.hexdigest()[:DIGEST_LENGTH] != entry.digest:
                # It changed there while it was read: there will be word of it.
                self.doubtful.add(path)
                return
            if base is not None and base.kind == FILE:
                entry = entry._replace(mode=base.mode)
            draft, self._draft = self._draft, None
            trees.ground.land(draft, mtime_ns, entry, expected)
        trees.local.files[path] = trees.remote[path] = entry
        trees.state.agreed(path, entry)
        trees.problems.pop(path, None)
        trees.tally.fetched += 1

    def _remove(self, action: Action) -> None:
        trees, path = self._trees, action.path
        base = trees.state.base.get(path)
        with contextlib.ExitStack() as stack:
            stack.callback(trees.ground.release)
            try:
                trees.ground.delete(path, [] if base is None else [base.digest], keep=True)
            except Changed:
                self.doubtful.add(path)
                return
            except (Refused, OSError) as error:
                words = error.strerror if isinstance(error, OSError) else None
                trees.problems[path] = f"cannot be removed: {(words or str(error)).lower()}"
                return
        trees.local.files.pop(path, None)
        trees.state.agreed(path, None)
        trees.tally.removed += 1
        trees.take_kept()

    def _end(self, path: str, problem: str) -> None:
        self._trees.problems[path] = problem
        self.reset()
