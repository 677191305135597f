"""What waits to be done, in the order in which it is done."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from perdure.sync.far.tree import Entry
from perdure.sync.plan import Action, Do, in_the_way


class Work:
    """Actions by path: one for each. Deletions in the way come first, the others last."""

    def __init__(self) -> None:
        self.first: dict[str, Action] = {}
        # Taken from its beginning: an ordinary dict passes over all that were taken before.
        self.small: OrderedDict[str, Action] = OrderedDict()
        self.fetch: dict[str, Action] = {}
        self.large: dict[str, Action] = {}
        self.last: dict[str, Action] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues())

    def __bool__(self) -> bool:
        return any(self._queues())

    def clear(self) -> None:
        """Forget everything."""
        for queue in self._queues():
            queue.clear()

    def drop(self, path: str) -> None:
        """Forget what was to be done to a path."""
        for queue in self._queues():
            queue.pop(path, None)

    def add(self, actions: Iterable[Action], *, folding: bool) -> None:
        """Take actions in; each replaces what was to be done to its path."""
        deletions, known = [], bool(self)
        for action in actions:
            if known:
                self.drop(action.path)
            if action.do is Do.DELETE:
                deletions.append(action)
            elif action.do in (Do.FETCH, Do.REMOVE):
                self.fetch[action.path] = action
            else:
                self.small[action.path] = action
        # A replaced path loses its place among the deletions that come first.
        waiting = {**self.first, **self.last, **{each.path: each for each in deletions}}
        puts = self.small.keys() | self.large.keys()
        first = in_the_way(waiting, puts, folding=folding) if waiting and puts else frozenset()
        self.first = {path: each for path, each in waiting.items() if path in first}
        self.last = {path: each for path, each in waiting.items() if path not in first}

    def _queues(self) -> tuple[dict[str, Action], ...]:
        return self.first, self.small, self.fetch, self.large, self.last


class Sent(NamedTuple):
    """What a path will be there, None: nothing; or only its permissions will be as the entry's."""

    path: str
    entry: Entry | None
    only_mode: bool = False


class Flights:
    """What was sent and not yet answered, by message and by path."""

    def __init__(self) -> None:
        self.bytes = 0
        self._messages: dict[int, tuple[list[Sent], int]] = {}
        self._paths: dict[str, list[Entry | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._messages)

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def expected(self, path: str) -> Entry | None:
        """Return what a path will be there once all has been answered."""
        return self._paths[path][-1]

    def clear(self) -> None:
        """Forget everything: no answer will come."""
        self.bytes = 0
        self._messages.clear()
        self._paths.clear()

    def add(self, number: int, sent: list[Sent], size: int) -> None:
        """Take in a message."""
        self._messages[number] = (sent, size)
        self.bytes += size
        for each in sent:
            self._paths.setdefault(each.path, []).append(each.entry)

    def answered(self, number: int) -> list[Sent]:
        """Return what a message was about, now that it is answered."""
        sent, size = self._messages.pop(number, ([], 0))
        self.bytes -= size
        for each in sent:
            waiting = self._paths[each.path]
            del waiting[0]
            if not waiting:
                del self._paths[each.path]
        return sent
