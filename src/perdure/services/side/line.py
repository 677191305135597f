"""Many connections side by side over one line, such as the input and output of a process.

A frame is a connection's number, a kind and a length, then so many bytes. Whoever opens a
connection numbers it; each side says when it has no more to send, and both let go of it then.

Standard library only, Python 3.9 or newer: this is brought to other hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable

DATA, END, GONE, OPEN, READY = range(5)
_HEAD = struct.Struct(">IBI")
_BLOCK = 1 << 16
# A browser that takes nothing holds nobody else up: so much is kept for it, then it is let go.
_MOST = 64 << 20

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line:
    """One end. `opened` is asked for a connection when the other side opens one."""

    def __init__(
        self, pair: Pair, opened: Callable[[], Awaitable[Pair]], ready: Callable[[], None]
    ) -> None:
        self._reader, self._writer = pair
        self._opened = opened
        self._ready = ready
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._halves: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._newest = 0

    async def send(self, kind: int, number: int = 0, data: bytes = b"") -> None:
        """Send a frame."""
        self._writer.write(_HEAD.pack(number, kind, len(data)) + data)
        await self._writer.drain()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open a connection on the other side, and carry this one there until both ends end."""
        self._newest += 1
        number = self._newest
        self._take(number, writer)
        await self.send(OPEN, number)
        await self._pump(number, reader)

    async def hear(self) -> None:
        """Take in what the other side sends, until it hangs up."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                number, kind, length = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
                data = await self._reader.readexactly(length)
                if kind == READY:
                    self._ready()
                elif kind == OPEN:
                    await self._open(number)
                else:
                    self._heard(number, kind, data)

    def close(self) -> None:
        """Hang up: let go of the line, and of all connections."""
        self._writer.close()
        for task in self._tasks:
            task.cancel()
        for number in list(self._writers):
            self._drop(number)

    async def _open(self, number: int) -> None:
        try:
            reader, writer = await self._opened()
        except OSError:
            await self.send(GONE, number)
            return
        self._take(number, writer)
        task = asyncio.ensure_future(self._pump(number, reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self, number: int, writer: asyncio.StreamWriter) -> None:
        self._writers[number] = writer
        self._halves[number] = 2

    async def _pump(self, number: int, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(_BLOCK):
                await self.send(DATA, number, data)
            await self.send(END, number)
            self._half(number)
        except OSError:
            self._drop(number)
            with contextlib.suppress(OSError):
                await self.send(GONE, number)

    def _heard(self, number: int, kind: int, data: bytes) -> None:
        writer = self._writers.get(number)
        if writer is None:
            return
        if kind == GONE or writer.transport.get_write_buffer_size() > _MOST:
            self._drop(number)
        elif kind == DATA:
            writer.write(data)
        else:
            with contextlib.suppress(OSError):
                writer.write_eof()
            self._half(number)

    def _half(self, number: int) -> None:
        """Note that one direction has ended."""
        if number in self._halves:
            self._halves[number] -= 1
            if not self._halves[number]:
                del self._halves[number]
                self._writers.pop(number).close()

    def _drop(self, number: int) -> None:
        self._halves.pop(number, None)
        writer = self._writers.pop(number, None)
        if writer is not None:
            writer.transport.abort()
