"""The process that leads a port of this machine to a service of another host: see `forwards`.

It holds the port for as long as the service lives. While the host is not reached, browsers get a
page that says so and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
import signal
import sys
import time
from pathlib import Path

from perdure.errors import PerdureError
from perdure.hosts.reaching import reached
from perdure.services.side import desk, record

_LOOK_S = 0.25
# How often the host is asked whether the service still lives.
_ASK_S = 20.0
_LONGEST_PAUSE_S = 15.0
_BLOCK = 1 << 16
_AWAY = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="3">'
    '<title>{name}</title><body style="font: 1.1em sans-serif; max-width: 40em; margin: 4em auto">'
    "<h1>{target} is not reached</h1><p>{why}</p><p>This page tries again.</p>\n"
)


class Forwarder:
    """One forward while it lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spec = record.read(folder / record.SPEC)
        # Nobody sits before it: a host that wants a password waits until some command asked for it.
        self._host = reached(self._spec["target"], self._spec["destination"], asks=False)
        self._reached = 0
        self._why = ""
        self._pause_s = 0.0
        self._again = 0.0
        self._began = time.monotonic()
        self._connecting = asyncio.Lock()

    async def keep(self) -> None:
        """Serve until the service has ended, its lifetime is over, or this is to stop."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._spec["port"])
        self._tell(record.RUNNING)
        asking = asyncio.ensure_future(self._await_end())
        await self._connect()
        try:
            while not self._is_over() and not asking.done():
                await asyncio.sleep(_LOOK_S)
        finally:
            asking.cancel()
            server.close()
            self._tell(record.ENDED)

    def _is_over(self) -> bool:
        stopped = (self._folder / record.STOP).exists()
        return stopped or time.monotonic() - self._began > self._spec["lifetime_s"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            there = await self._open()
            if there is None:
                await self._excuse(reader, writer)
            else:
                await _join((reader, writer), there)
        await _close(writer)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection to the service, None where there is no way to it now."""
        for _ in range(2):
            if self._reached:
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection("127.0.0.1", self._reached)
            self._reached = 0
            await self._connect()
        return None

    async def _connect(self) -> None:
        """Have the connection that all commands share lead to the service, if that can be had."""
        async with self._connecting:
            if self._reached or time.monotonic() < self._again:
                return
            loop = asyncio.get_running_loop()
            try:
                forward = self._host.forward
                self._reached = await loop.run_in_executor(None, forward, self._spec["there"])
                self._why, self._pause_s = "", 0.0
            except PerdureError as error:
                self._why = error.message
                self._pause_s = min(_LONGEST_PAUSE_S, 1.0 + 2 * self._pause_s)
                self._again = time.monotonic() + self._pause_s
        self._tell(record.RUNNING)

    async def _excuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _LONGEST_PAUSE_S)
        page = _AWAY.format(
            name=self._spec["name"],
            target=html.escape(self._spec["target"]),
            why=html.escape(self._why),
        ).encode()
        head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nRetry-After: 3\r\n"
        head += f"Content-Length: {len(page)}\r\nCache-Control: no-store\r\nConnection: close\r\n"
        writer.write(head.encode() + b"\r\n" + page)
        await writer.drain()

    async def _await_end(self) -> None:
        """Return once the host says that the service is not there any more."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_ASK_S)
            with contextlib.suppress(PerdureError, OSError):
                found = await loop.run_in_executor(None, self._is_there)
                if not found:
                    return
                if not self._reached:
                    await self._connect()

    def _is_there(self) -> bool:
        root, identity = self._spec["root"], self._spec["id"]
        living = self._host.call(desk.look, root)
        return any(
            each["id"] == identity and each["port"] in (0, self._spec["there"]) for each in living
        )

    def _tell(self, state: str) -> None:
        now = {"state": state, "port": self._spec["port"], "pid": os.getpid(), "why": self._why}
        record.write(self._folder / record.STATE, json.dumps(now) + "\n")


async def _join(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Pass on both ways until one end is closed."""
    ways = [
        asyncio.ensure_future(_pump(near[0], far[1])),
        asyncio.ensure_future(_pump(far[0], near[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in ways:
            each.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await _close(far[1])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
        await writer.wait_closed()


def main() -> int:
    """Keep the forward of a folder until it ends; return an exit code."""
    folder = Path(sys.argv[1])
    held = record.take_lock(folder)
    if held is None:
        return 3
    signal.signal(signal.SIGTERM, lambda number, frame: (folder / record.STOP).touch())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    asyncio.run(Forwarder(folder).keep())
    return 0


if __name__ == "__main__":
    sys.exit(main())
