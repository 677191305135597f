"""The program of the side: calls come in as frames, are done, each in a thread, and answered.

It ends when its input does; what it was asked to start and leave is left, what it was still running
for somebody is killed with it.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from typing import Any, BinaryIO

from perdure.errors import PerdureError
from perdure.hosts import local
from perdure.hosts.side.frames import pack, read_frame, unpack

READY = "ready"


def serve(reader: BinaryIO, writer: BinaryIO) -> None:
    """Answer calls until the input ends."""
    answers = _Answers(writer)
    answers.give({"is": READY, "pid": os.getpid(), "python": sys.version.split()[0]})
    while True:
        frame = read_frame(reader)
        if frame is None:
            return
        asked = unpack(*frame)
        threading.Thread(target=_answer, args=(asked, answers), daemon=True).start()


def main(reader: BinaryIO) -> None:
    """Serve standard input and output, then end with everything that still runs for somebody.

    `reader` is standard input: something may have been read ahead of it already.
    """
    # What a function prints by mistake must not come between frames.
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(reader, writer)
    finally:
        local.kill_running()
        os._exit(0)


class _Answers:
    """The way back, for one thread at a time."""

    def __init__(self, writer: BinaryIO) -> None:
        self._writer = writer
        self._lock = threading.Lock()

    def give(self, answer: dict[str, Any]) -> None:
        frame = pack(answer)
        with self._lock, contextlib.suppress(OSError):
            self._writer.write(frame)
            self._writer.flush()


def _answer(asked: dict[str, Any], answers: _Answers) -> None:
    number = asked["number"]
    try:
        module, _, name = asked["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        named = dict(asked["named"])
        if asked.get("tells"):
            named["on_line"] = lambda line: answers.give({"number": number, "line": line})
        value = function(*asked["arguments"], **named)
        answers.give({"number": number, "value": value})
    except PerdureError as error:
        answers.give({"number": number, "error": _described(error)})
    except OSError as error:
        found = [error.errno, error.strerror, os.fspath(error.filename or "")]
        answers.give({"number": number, "failed": found})
    except BaseException:  # noqa: BLE001 - the one who asked has to hear of it
        answers.give({"number": number, "crashed": traceback.format_exc()})


def _described(error: PerdureError) -> dict[str, object]:
    described: dict[str, object] = {"kind": type(error).__name__, "message": error.message}
    described["hint"] = error.hint
    program = getattr(error, "program", None)
    return described if program is None else {**described, "program": program}
