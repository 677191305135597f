"""Disks that lose power: what may be left of a trace of operations.

`killed`: the process dies, the system lives; every operation so far is there. `ext4`: with
data=ordered names change in order, any sync commits all of them so far, and data that was not
synced may be missing from its end. `weak`: what POSIX promises and no more; each name and each
block that was not synced itself is there or not, and sizes are any that were (the model of
Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.trace import Operation

BLOCK = 4096
SECTOR = 512

Change = tuple[int, int, bytes | None]


@dataclass(slots=True, eq=False)
class Node:
    """A file or a folder: what is durable of it, and what has changed since, by operation."""

    folder: bool
    entries: dict[str, Node] = field(default_factory=dict)
    data: bytes = b""
    names: list[tuple[int, str, Node | None]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def now(self) -> dict[str, Node]:
        """Return the entries as the running system shows them."""
        return apply_names(self.entries, self.names)

    def sync(self, began: int) -> None:
        """Make durable what was over when the sync began."""
        self.entries = apply_names(self.entries, [c for c in self.names if c[0] < began])
        self.names = [change for change in self.names if change[0] >= began]
        self.data = apply_changes(self.data, [c for c in self.changes if c[0] < began])
        self.changes = [change for change in self.changes if change[0] >= began]


def apply_names(
    entries: dict[str, Node], changes: Sequence[tuple[int, str, Node | None]]
) -> dict[str, Node]:
    """Return the entries after the changes."""
    found = dict(entries)
    for _, name, node in changes:
        if node is None:
            found.pop(name, None)
        else:
            found[name] = node
    return found


def apply_changes(data: bytes, changes: Sequence[Change]) -> bytes:
    """Return the data after the writes (offset, bytes) and truncations (size, None)."""
    found = bytearray(data)
    for _, offset, part in changes:
        if part is None:
            del found[offset:]
            found.extend(bytes(offset - len(found)))
        else:
            found.extend(bytes(max(0, offset - len(found))))
            found[offset : offset + len(part)] = part
    return bytes(found)


class Disk:
    """A folder as the operations so far have left it."""

    def __init__(self) -> None:
        self.root = Node(folder=True)

    def find(self, path: str) -> Node:
        """Return the node of a path, now."""
        node = self.root
        for name in path.split("/") if path else ():
            node = node.now()[name]
        return node

    def perform(self, number: int, operation: Operation) -> None:
        """Do one operation."""
        kind, path = operation.kind, operation.path
        if kind == "sync":
            self.find(path).sync(operation.began)
        elif kind in ("mkdir", "create"):
            self._name(number, path, Node(folder=kind == "mkdir"))
        elif kind == "remove":
            self._name(number, path, None)
        elif kind == "rename":
            moved = self.find(path)
            self._name(number, path, None)
            self._name(number, operation.other, moved)
        else:
            data = operation.data if kind == "write" else None
            self.find(path).changes.append((number, operation.offset, data))

    def _name(self, number: int, path: str, node: Node | None) -> None:
        parent, _, name = path.rpartition("/")
        self.find(parent).names.append((number, name, node))


def replay(operations: Sequence[Operation]) -> Disk:
    """Return the disk after the operations."""
    disk = Disk()
    for number, operation in enumerate(operations):
        disk.perform(number, operation)
    return disk


class Killed:
    """All is there; the last write may have been cut short."""

    def __init__(self, operations: Sequence[Operation], chance: random.Random) -> None:
        self._last = len(operations) - 1
        self._chance = chance

    def entries(self, node: Node) -> dict[str, Node]:
        return node.now()

    def data(self, node: Node) -> bytes:
        changes = list(node.changes)
        if changes and changes[-1][0] == self._last and self._chance.random() < 0.5:
            number, offset, part = changes.pop()
            if part is not None:
                cut = self._chance.randrange(len(part) // BLOCK + 1) * BLOCK
                changes.append((number, offset, part[:cut]))
        return apply_changes(node.data, changes)


class Ext4:
    """Names change in order; unsynced data is there from its beginning, or not."""

    def __init__(self, operations: Sequence[Operation], chance: random.Random) -> None:
        synced = [operation.began for operation in operations if operation.kind == "sync"]
        self._committed = chance.randint(max(synced, default=0), len(operations))
        self._chance = chance

    def entries(self, node: Node) -> dict[str, Node]:
        return apply_names(node.entries, [c for c in node.names if c[0] < self._committed])

    def data(self, node: Node) -> bytes:
        full = apply_changes(node.data, node.changes)
        if not node.changes:
            return full
        kept = self._chance.choice((0, len(full), self._chance.randint(0, len(full))))
        cut = max(len(node.data), kept // BLOCK * BLOCK if kept < len(full) else kept)
        if self._chance.random() < 0.3:
            # Written past the cache, which orders nothing: the size is there, the blocks are not.
            return full[:cut] + bytes(len(full) - cut)
        return full[:cut]


class Weak:
    """Each name and each block is there or not, unless it was synced itself."""

    def __init__(self, operations: Sequence[Operation], chance: random.Random) -> None:
        self._chance = chance

    def entries(self, node: Node) -> dict[str, Node]:
        likely = self._chance.choice((0.1, 0.5, 0.9))
        kept = [change for change in node.names if self._chance.random() < likely]
        return apply_names(node.entries, kept)

    def data(self, node: Node) -> bytes:
        if not node.changes:
            return node.data
        full = apply_changes(node.data, node.changes)
        unit = self._chance.choice((SECTOR, BLOCK))
        likely = self._chance.choice((0.0, 0.5, 0.95, 1.0))
        least = min(len(node.data), len(full))
        size = self._chance.choice((least, len(full), self._chance.randint(least, len(full))))
        found = bytearray(node.data[:size].ljust(size, b"\0"))
        for start in range(0, size, unit):
            if self._chance.random() < likely:
                found[start : start + unit] = full[start : min(start + unit, size)]
        return bytes(found)


Model = type[Killed] | type[Ext4] | type[Weak]


def materialise(operations: Sequence[Operation], model: Model, seed: int, into: Path) -> None:
    """Write what one crash after the operations leaves behind into a new folder."""
    crash = model(operations, random.Random(seed))

    def put(node: Node, path: Path) -> None:
        if not node.folder:
            path.write_bytes(crash.data(node))
            return
        path.mkdir()
        for name, child in crash.entries(node).items():
            put(child, path / name)

    put(replay(operations).root, into)
