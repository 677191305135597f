"""A port of this machine's loopback that leads to the loopback of a job's node, through srun.

Nothing listens on the cluster's network: each connection is a step of the job, which speaks to the
node's own loopback and passes on what it reads and writes.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import IO

from perdure.errors import PerdureError
from perdure.hosts import local
from perdure.targets.slurm_queue import environ

_BLOCK = 1 << 16
_END_S = 5.0
# What runs on the node: between its input and output and the port that it is given.
_THERE = """\
import socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
there.settimeout(None)
def send():
    while True:
        data = sys.stdin.buffer.raw.read(65536)
        if not data:
            break
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while True:
    data = there.recv(65536)
    if not data:
        break
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""


def relay(srun: Callable[[], tuple[str, ...]], python: str, port: int) -> int:
    """Return a port on which this process passes connections on, for as long as it lives.

    `srun` says for each connection how a command is run where the job is by then; it raises
    PerdureError while that is on no node.
    """
    there = (python, "-I", "-S", "-c", _THERE, str(port))
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener, srun, there), daemon=True).start()
    return int(listener.getsockname()[1])


def _serve(
    listener: socket.socket, srun: Callable[[], tuple[str, ...]], there: tuple[str, ...]
) -> None:
    with listener:
        while True:
            here, _ = listener.accept()
            threading.Thread(target=_pass_on, args=(here, srun, there), daemon=True).start()


def _pass_on(
    here: socket.socket, srun: Callable[[], tuple[str, ...]], there: tuple[str, ...]
) -> None:
    with here:
        try:
            process = local.spawn_piped((*srun(), *there), env=environ(), feeding=True)
        except PerdureError:
            return  # whoever connected sees the end of the connection
        with contextlib.ExitStack() as after:
            after.callback(local.end_piped, process, _END_S)
            threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
            threading.Thread(target=_feed, args=(here, process.stdin), daemon=True).start()
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                while data := process.stdout.raw.read(_BLOCK):  # type: ignore[attr-defined]
                    here.sendall(data)
            # To close it would not do: another thread waits for what comes from there.
            with contextlib.suppress(OSError):
                here.shutdown(socket.SHUT_RDWR)


def _feed(here: socket.socket, sink: IO[bytes] | None) -> None:
    assert sink is not None
    with contextlib.suppress(OSError, ValueError):
        while data := here.recv(_BLOCK):
            sink.write(data)
            sink.flush()
        sink.close()


def _drain(source: IO[bytes] | None) -> None:
    assert source is not None
    with contextlib.suppress(OSError, ValueError):
        while source.read(_BLOCK):
            pass
