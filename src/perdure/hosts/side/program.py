"""The program of the side: calls come in as frames, are done, each in a thread, and answered.

It ends when its input does, or when nothing has come for as long as a ping has said; what it was
asked to start and leave is left, what it was still running for somebody is killed with it.

Frames that come: a call (`number`, `function`, `arguments`, `named`, `tells`); `stop`, the number
of a call nobody waits for any more; `ping`, within how many seconds another frame will follow.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, BinaryIO

from perdure.errors import PerdureError
from perdure.hosts import local
from perdure.hosts.side.frames import in_pieces, pack, read_frame, unpack

READY = "ready"
_LOOK_S = 1.0


def serve(reader: BinaryIO, writer: BinaryIO) -> None:
    """Answer calls until the input ends."""
    answers = _Answers(writer)
    answers.give({"is": READY, "pid": os.getpid(), "python": sys.version.split()[0]})
    calls = _Calls(answers)
    watch = _Watch()
    while True:
        frame = read_frame(reader)
        if frame is None:
            return
        asked = unpack(*frame)
        watch.heard(asked.get("ping"))
        if "ping" in asked:
            answers.give({"number": 0, "pong": True})
        elif "stop" in asked:
            calls.stop(asked["stop"])
        else:
            calls.start(asked)


def main(reader: BinaryIO) -> None:
    """Serve standard input and output, then end with everything that still runs for somebody.

    `reader` is standard input: something may have been read ahead of it already.
    """
    # What a function prints by mistake must not come between frames.
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # A handler: a signal that is ignored stays so in what is started here, jobs among it.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, frame: sys.exit(0))
    try:
        serve(reader, writer)
    finally:
        _end()


def _end() -> None:
    local.kill_running()
    os._exit(0)


class _Watch:
    """Ends this process when it is not heard from who said that something would follow.

    A laptop that vanishes says no goodbye, and most sshds never ask for one.
    """

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._within_s = 0.0

    def heard(self, within_s: Any) -> None:  # noqa: ANN401 - a value of JSON
        self._heard = time.monotonic()
        if within_s is None:
            return
        if not self._within_s:
            threading.Thread(target=self._watch, daemon=True).start()
        self._within_s = float(within_s)

    def _watch(self) -> None:
        while time.monotonic() - self._heard < self._within_s or not self._within_s:
            time.sleep(_LOOK_S)
        _end()


class _Answers:
    """The way back, for one thread at a time and in turn: a large answer lets others between."""

    def __init__(self, writer: BinaryIO) -> None:
        self._writer = writer
        self._turn = threading.Condition()
        self._next = self._now = 0

    def give(self, answer: dict[str, Any]) -> None:
        for piece in in_pieces(pack(answer), answer.get("number")):
            with self._in_turn(), contextlib.suppress(OSError):
                self._writer.write(piece)
                self._writer.flush()

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        with self._turn:
            mine, self._next = self._next, self._next + 1
            self._turn.wait_for(lambda: self._now == mine)
        try:
            yield
        finally:
            with self._turn:
                self._now += 1
                self._turn.notify_all()


class _Calls:
    """The calls that are being done, and the threads that do them."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._threads: dict[Any, threading.Thread] = {}

    def start(self, asked: dict[str, Any]) -> None:
        thread = threading.Thread(target=self._do, args=(asked,), daemon=True)
        self._threads[asked["number"]] = thread
        thread.start()

    def stop(self, number: Any) -> None:  # noqa: ANN401 - a value of JSON
        """Kill what a call runs, which then ends by itself."""
        thread = self._threads.get(number)
        if thread is not None and thread.ident is not None:
            local.kill_running(thread.ident)

    def _do(self, asked: dict[str, Any]) -> None:
        try:
            _answer(asked, self._answers)
        finally:
            self._threads.pop(asked["number"], None)


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
        found = [error.errno, error.strerror, str(error.filename or "")]
        answers.give({"number": number, "failed": found})
    except BaseException:  # noqa: BLE001 - the one who asked has to hear of it
        answers.give({"number": number, "crashed": traceback.format_exc()})


def _described(error: PerdureError) -> dict[str, object]:
    described: dict[str, object] = {"kind": type(error).__name__, "message": error.message}
    described["hint"] = error.hint
    program = getattr(error, "program", None)
    return described if program is None else {**described, "program": program}
