"""A service's program on a node of a cluster, as if it served on a socket here.

away here SOCKET SPEC    where the keeper is: starts the other end by what SPEC says, and serves
away there SPEC          on the node: starts the program, and is spoken to over its input and output

No port is opened: connections go side by side over the one line that srun keeps to its task.

Standard library only, Python 3.9 or newer: this is brought to other hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO, Any

from perdure.hosts import local
from perdure.services.side.keeper import private_folder
from perdure.services.side.line import READY, Line, Pair

#: In the words of the program: its socket on the node.
SOCKET = "@SOCKET@"
_LOOK_S = 0.1
_END_S = 5.0
_WIDE = 1 << 20

Opener = Callable[[], Awaitable[Pair]]


async def _no_connection() -> Pair:
    raise OSError("nobody opens connections here")


async def here(path: str, spec: Mapping[str, Any]) -> int:
    """Serve on the socket `path` what the other end's program does; return how that ended."""
    process = local.spawn_piped(spec["start"], feeding=True)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    threading.Thread(target=_tell, args=(process.stderr,), daemon=True).start()
    ready = asyncio.Event()
    line = Line(await _pair(process.stdout, process.stdin), _no_connection, ready.set)
    hearing = asyncio.ensure_future(line.hear())
    _on_signals(hearing)
    waiting = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait((hearing, waiting), return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set():
            server = await asyncio.start_unix_server(line.carry, path)
            with contextlib.suppress(asyncio.CancelledError):
                await hearing
            server.close()
    finally:
        waiting.cancel()
        line.close()
        local.end_piped(process, _END_S)
    return process.returncode or 0


async def there(spec: Mapping[str, Any]) -> int:
    """Run the program until it ends, or nobody speaks to this end any more; return its code."""
    private = private_folder()
    path = os.fspath(private / "s")
    words = [word.replace(SOCKET, path) for word in spec["argv"]]
    around = {**os.environ, **spec["environment"]}
    pid = local.spawn_detached(words, env=around, cwd=spec["cwd"], log=Path(spec["log"]))

    opened = functools.partial(_open, path)
    # What the task's own descriptors are is for the line alone.
    line = Line(await _pair(sys.stdin.buffer, sys.stdout.buffer), opened, lambda: None)
    hearing = asyncio.ensure_future(line.hear())
    _on_signals(hearing)
    try:
        told = False
        while local.exit_code_of(pid) is None and not hearing.done():
            if not told and await _answers(opened):
                told = True
                await line.send(READY)
            await asyncio.sleep(_LOOK_S)
    finally:
        hearing.cancel()
        line.close()
        await _end(pid)
        shutil.rmtree(private, ignore_errors=True)
    return local.exit_code_of(pid) or 0


async def _open(path: str) -> Pair:
    # asyncio takes a socket for connected whose listener has too many waiting already.
    connected = await asyncio.get_running_loop().run_in_executor(None, _connect, path)
    return await asyncio.open_unix_connection(sock=connected)


def _connect(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    until = time.monotonic() + _END_S
    try:
        made.settimeout(_END_S)
        while True:
            try:
                made.connect(path)
            except BlockingIOError:
                # So many wait to be let in already.
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_S / 10)
            else:
                return made
    except OSError:
        made.close()
        raise


async def _answers(opened: Opener) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await opened()
        writer.close()
        return True
    return False


async def _end(pid: int) -> None:
    """End the program, politely first."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)
    for _ in range(int(_END_S / _LOOK_S)):
        if local.exit_code_of(pid) is not None:
            break
        await asyncio.sleep(_LOOK_S)
    local.kill_group(pid)


async def _pair(source: IO[bytes], sink: IO[bytes]) -> Pair:
    """Return a process's pipes as asyncio has them."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_WIDE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    made = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sink)
    return reader, asyncio.StreamWriter(made[0], made[1], None, loop)


def _on_signals(task: asyncio.Future[None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)


def _tell(source: IO[bytes]) -> None:
    """Pass on what srun says: this process's standard error is the service's log."""
    with contextlib.suppress(OSError, ValueError):
        while data := source.read1(_WIDE):  # type: ignore[attr-defined]
            os.write(2, data)


def main(words: list[str]) -> int:
    """Be one of the two ends until the program has ended; return its exit code."""
    if words[0] == "here":
        return asyncio.run(here(words[1], json.loads(words[2])))
    with contextlib.suppress(asyncio.CancelledError):
        return asyncio.run(there(json.loads(words[1])))
    return 0
