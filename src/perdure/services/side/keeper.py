"""The keeper of a service: it starts the program, opens the gate, and ends both at their limits.

It is started with the service's folder, and lives as long as the service: detached from whoever
started it, it holds the folder's lock. All that the program started ends with it.

Standard library only, Python 3.9 or newer: this is brought to other hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure.hosts import local, processes
from perdure.services.side import record
from perdure.services.side.gate import Gate

SOCKET, PRIVATE = "{socket}", "{private}"
ALREADY = 3
# What a unix socket's path may have.
_LONGEST = 90
_LOOK_S = 0.2
_WRITE_S = 5.0
_BUSY_S = 30.0
_START_S = 120.0
_GRACE_S = 10.0
_TICK_S = 1.0


class Keeper:
    """One service while it lives."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.spec = record.read(folder / record.SPEC)
        self._clock = clock
        self._began = self._used = clock()
        self._written: dict[str, Any] = {}
        self._port = 0
        self._private = private_folder()
        self._socket = os.fspath(self._private / "s")
        self._pid = 0

    async def keep(self) -> str:
        """Return why the service ended, once it has."""
        self._tell(record.STARTING)
        words = [self._filled(word) for word in self.spec["argv"]]
        given = {name: self._filled(value) for name, value in self.spec["environment"].items()}
        environment = {**os.environ, **given, record.VARIABLE: os.fspath(self.folder)}
        record.give([self._private], self.spec["owner"])
        log = self.folder / record.LOG
        self._pid = local.spawn_detached(words, env=environment, cwd=self.spec["cwd"], log=log)
        try:
            why = await self._until_it_answers()
            if why is None:
                why = await self._serve()
        finally:
            await self._end_program()
            shutil.rmtree(self._private, ignore_errors=True)
        return why

    def _filled(self, text: str) -> str:
        return text.replace(SOCKET, self._socket).replace(PRIVATE, os.fspath(self._private))

    def tell_end(self, why: str) -> None:
        """Write down that the service has ended."""
        self._tell(record.ENDED, why)

    async def _until_it_answers(self) -> str | None:
        """Return None once the program answers, or why it never will."""
        deadline = self._clock() + _START_S
        while not await self._answers():
            why = self._why_over() or ("it did not start" if self._clock() > deadline else None)
            if why is not None:
                return why
            await asyncio.sleep(_LOOK_S)
        return None

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_unix_connection(self._socket)
            writer.close()
            return True
        return False

    async def _serve(self) -> str:
        gate = Gate(self._socket, record.token_of(self.folder), self.spec)
        gate.used = self._use
        server = await listen(gate, self.spec["port"])
        self._port = server.sockets[0].getsockname()[1]
        self._use()
        self._tell(record.RUNNING)
        asking = asyncio.ensure_future(self._watch_for_work())
        told = self._clock()
        try:
            while (why := self._why_over()) is None:
                await asyncio.sleep(_LOOK_S)
                if self._clock() - told > _WRITE_S:
                    self._tell(record.RUNNING)
                    told = self._clock()
            return why
        finally:
            asking.cancel()
            server.close()

    def _use(self) -> None:
        self._used = self._clock()

    def _why_over(self) -> str | None:
        code = local.exit_code_of(self._pid)
        if code is not None:
            return f"it ended by itself (exit code {code})"
        if (self.folder / record.STOP).exists():
            return "stopped"
        if self._clock() - self._began > self.spec["lifetime_s"]:
            return "its lifetime was over"
        if self._clock() - self._used > self.spec["idle_s"]:
            return "nobody used it"
        return None

    async def _watch_for_work(self) -> None:
        """Take what the program itself is busy with for use."""
        path = self.spec["busy"]
        while path:
            await asyncio.sleep(min(_BUSY_S, self.spec["idle_s"] / 4))
            loop = asyncio.get_running_loop()
            if await loop.run_in_executor(None, is_busy, self._socket, path):
                self._use()

    async def _end_program(self) -> None:
        """End the program, politely first, and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self._pid, signal.SIGTERM)
        deadline = self._clock() + _GRACE_S
        while local.exit_code_of(self._pid) is None and self._clock() < deadline:
            await asyncio.sleep(_LOOK_S)
        record.run_after(self.spec)
        local.kill_group(self._pid)
        path = os.fspath(self.folder)
        processes.kill_all(lambda: processes.carrying(record.VARIABLE, path) - {os.getpid()})

    def _tell(self, state: str, why: str = "") -> None:
        idle_s = self._clock() - self._used
        now = {
            "state": state,
            "why": why,
            "port": self._port,
            "pid": os.getpid(),
            "private": os.fspath(self._private),
            "began": round(time.time() - (self._clock() - self._began), 1),
            "used": round(time.time() - idle_s, 1),
        }
        if now != self._written:
            self._written = now
            record.write(self.folder / record.STATE, json.dumps(now) + "\n")


async def listen(gate: Gate, port: int) -> asyncio.Server:
    """Return the gate's server, on that port of the loopback; 0: any."""
    return await asyncio.start_server(gate.serve, "127.0.0.1", port)


def is_busy(path: str, address: str) -> bool:
    """Return whether the answer to a request names something that is busy."""
    connection = http.client.HTTPConnection("localhost", timeout=_GRACE_S)
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_GRACE_S)
        connection.sock.connect(path)
        connection.request("GET", address)
        found = json.loads(connection.getresponse().read())
        return any(each.get("execution_state") == "busy" for each in found)
    return False


def private_folder() -> Path:
    """Return a new folder that only this user enters, with a path short enough for a socket."""
    found = Path(tempfile.mkdtemp(prefix="perdure-"))
    if len(os.fspath(found)) > _LONGEST:
        found.rmdir()
        found = Path(tempfile.mkdtemp(prefix="perdure-", dir="/tmp"))
    return found


def main(words: list[str]) -> int:
    """Keep the service of a folder until it ends; return an exit code."""
    folder = Path(words[0])
    held = record.take_lock(folder)
    if held is None:
        return ALREADY
    signal.signal(signal.SIGTERM, lambda number, frame: (folder / record.STOP).touch())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keeper = Keeper(folder)
    why = "it failed"
    try:
        why = asyncio.run(keeper.keep())
    except Exception as error:
        why = f"it failed: {error}"
        raise
    finally:
        keeper.tell_end(why)
    return 0
