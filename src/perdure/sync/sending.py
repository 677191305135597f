"""What goes to the other side: many small files in one message, a large one in parts."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import Any

from perdure.sync.channel import Channel
from perdure.sync.far.tree import DIGEST_LENGTH, FILE, MODE, Entry, stamp_of
from perdure.sync.plan import ABSENT, SMALL_BYTES, Action, Do, same
from perdure.sync.reading import Content
from perdure.sync.trees import Trees
from perdure.sync.work import Flights, Sent, Work

# How much is under way at a time: a save made meanwhile waits behind no more than this.
WINDOW_BYTES = 4 << 20
_FRAME_BYTES = 1 << 20
_MOST_ACTIONS = 1000
_TRIES = 3


@dataclass(slots=True)
class _Message:
    """Actions for the other side, and what they will have made of their paths."""

    do: list[list[Any]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    size: int = 0

    def is_full(self) -> bool:
        return self.size >= _FRAME_BYTES or len(self.do) >= _MOST_ACTIONS


@dataclass(slots=True)
class _Upload:
    """A large file that is under way."""

    path: str
    number: int
    fd: int
    found: os.stat_result
    digest: Any
    done: int = 0


class Sender:
    """Carries out what changes the other side. `vanished` are paths that are not as was thought."""

    def __init__(self, trees: Trees, work: Work, flights: Flights) -> None:
        self.vanished: set[str] = set()
        self._trees = trees
        self._work = work
        self._flights = flights
        self._upload: _Upload | None = None
        self._tries: dict[str, int] = {}
        self._number = 0

    @property
    def uploading(self) -> str | None:
        """Return the path of the large file that is under way."""
        return self._upload.path if self._upload is not None else None

    def next_number(self) -> int:
        """Return a number that no other message has."""
        self._number += 1
        return self._number

    def reset(self) -> None:
        """Forget what was under way: the connection is another one."""
        if self._upload is not None:
            os.close(self._upload.fd)
            self._upload = None

    def send_some(self, channel: Channel) -> bool:
        """Send a message's worth; return False if there is nothing to send.

        Raises:
            Lost: the connection is.
        """
        message = _Message()
        self._take_deletions(self._work.first, message)
        self._take_small(message)
        if not message.do and (self._upload is not None or self._work.large):
            return self._send_part(channel)
        if not message.do and not self._work.fetch:
            self._take_deletions(self._work.last, message)
        return self._send(channel, message)

    def _send(self, channel: Channel, message: _Message) -> bool:
        if not message.do:
            return False
        number = self.next_number()
        self._trees.state.sending(
            (each.path, ABSENT if each.entry is None else each.entry.digest)
            for each in message.sent
            if not each.only_mode
        )
        self._flights.add(number, message.sent, message.size)
        channel.send({"op": "apply", "n": number, "do": message.do}, *message.contents)
        return True

    def _take_deletions(self, queue: dict[str, Action], message: _Message) -> None:
        while queue and not message.is_full():
            path = next(iter(queue))
            del queue[path]
            message.do.append(["delete", path, self._trees.state.expected(path)])
            message.sent.append(Sent(path, None))

    def _take_small(self, message: _Message) -> None:
        queue = self._work.small
        while queue and not message.is_full():
            _, action = queue.popitem(last=False)
            content = self._read(action.path)
            if content is None:
                continue
            if content.data is None:
                self._postpone(action, message)
                continue
            self._trees.local.files[action.path] = content.entry
            self._add(action.path, content, content.data, message)

    def _postpone(self, action: Action, message: _Message) -> None:
        """Let a large file wait for the small ones, unless it is there already."""
        path = action.path
        if path in self._trees.remote and path not in self._flights:
            entry = self._try_to_read(path)
            if entry is not None and self._is_there(path, entry, message):
                self._trees.local.files[path] = entry
                return
        self._work.large[path] = action

    def _try_to_read(self, path: str) -> Entry | None:
        try:
            return self._trees.reader.read(path)
        except OSError:
            return None

    def _read(self, path: str) -> Content | None:
        try:
            content = self._trees.reader.contents(path, SMALL_BYTES)
        except OSError as error:
            self._trees.local.held[path] = f"cannot be read: {(error.strerror or '').lower()}"
            return None
        if content is None or content.found.st_size > self._trees.rules.largest_bytes:
            self.vanished.add(path)
            return None
        return content

    def _add(self, path: str, content: Content, data: bytes, message: _Message) -> None:
        entry = content.entry
        if self._is_there(path, entry, message):
            return
        message.do.append(
            [
                "put",
                path,
                entry.kind,
                entry.mode,
                content.found.st_mtime_ns,
                entry.digest,
                self._trees.state.expected(path),
                len(data),
            ]
        )
        message.contents.append(data)
        message.sent.append(Sent(path, entry))
        message.size += len(data)

    def _is_there(self, path: str, entry: Entry, message: _Message) -> bool:
        """Return whether the content is there already; its permissions are sent if they differ."""
        flying = path in self._flights
        there = self._flights.expected(path) if flying else self._trees.remote.get(path)
        if there is None or not same(entry, there):
            return False
        base = self._trees.state.base.get(path)
        known = base.mode if base is not None and same(base, entry) and not flying else there.mode
        if entry.kind == FILE and entry.mode != known:
            message.do.append(["chmod", path, entry.mode])
            message.sent.append(Sent(path, entry, only_mode=True))
        elif not flying:
            self._trees.state.agreed(path, entry)
        return True

    def _send_part(self, channel: Channel) -> bool:
        upload = self._upload or self._begin_upload()
        if upload is None:
            return True
        data = os.read(upload.fd, SMALL_BYTES)
        if data and upload.done + len(data) <= upload.found.st_size:
            upload.digest.update(data)
            upload.done += len(data)
            number = self.next_number()
            self._flights.add(number, [], len(data))
            part = {"op": "part", "n": number, "id": upload.number, "path": upload.path}
            channel.send(part, data)
            return True
        after = os.fstat(upload.fd)
        if stamp_of(after) != stamp_of(upload.found) or upload.done != after.st_size:
            self._try_later(upload, channel)
            return True
        self.reset()
        return self._send(channel, self._landing(upload))

    def _landing(self, upload: _Upload) -> _Message:
        mode = upload.found.st_mode & MODE
        entry = Entry(FILE, upload.digest.hexdigest()[:DIGEST_LENGTH], mode)
        self._trees.local.files[upload.path] = entry
        self._tries.pop(upload.path, None)
        facts = (upload.number, mode, upload.found.st_mtime_ns, entry.digest)
        expected = self._trees.state.expected(upload.path)
        message = _Message(size=upload.done)
        message.do.append(["land", upload.path, *facts, expected, upload.done])
        message.sent.append(Sent(upload.path, entry))
        return message

    def _begin_upload(self) -> _Upload | None:
        path = next(iter(self._work.large))
        del self._work.large[path]
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self._trees.root / path, flags)
        except OSError:
            self.vanished.add(path)
            return None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > self._trees.rules.largest_bytes:
            os.close(fd)
            self.vanished.add(path)
            return None
        self._upload = _Upload(path, self.next_number(), fd, found, hashlib.sha256())
        return self._upload

    def give_up(self, channel: Channel) -> None:
        """Leave the large file that is under way: the other side cannot take it."""
        if self._upload is not None:
            channel.send({"op": "drop", "id": self._upload.number})
            self.reset()

    def _try_later(self, upload: _Upload, channel: Channel) -> None:
        """Leave a file that changed while it was sent for a later try."""
        self.give_up(channel)
        tries = self._tries[upload.path] = self._tries.get(upload.path, 0) + 1
        if tries < _TRIES:
            self._work.large[upload.path] = Action(Do.PUT, upload.path)
        else:
            self._trees.problems[upload.path] = "changes faster than it can be sent"
