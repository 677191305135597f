"""What a drill does inside a training: interrupts it at named points, and notes what it saw.

A drill hands its orders over in PERDURE_DRILL, as JSON:

    {"trace": bool, "drop": [items], "save_every": steps or 0, "actions": [ACTION, ...]}
    ACTION: {"point": name, "step": n or null, "nth": k, "do": "term|kill|int|usr2|file",
             "generation": g or null, "delay_s": 0.0, "after": bool}

An action fires once: at the `nth` (1 when left out) time that its point is reached at step `step`
or later, in that generation only, so that one text serves all attempts of a run. `do` may name two
in a row, as `term-kill`; the second follows a few milliseconds later. `delay_s` lets it land in the
middle of the step that follows. With `after` it only counts points once every action before it in
the list has fired, so that a second interruption lands inside the save which the first one caused.
Before anything is fired it is written to trace/<generation>.fired.jsonl, so that what is counted
afterwards is what happened. A traced training that gets to its end leaves which points it reached,
at which steps and within how many seconds, in trace/<generation>.points.jsonl.

Without PERDURE_DRILL everything here returns at once. Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from perdure.runtime import names

# Between the two signals of `term-kill`: long enough for the first handler to run.
GAP_S: Final = 0.004

_SIGNALS: Final = {
    "term": signal.SIGTERM,
    "kill": signal.SIGKILL,
    "int": signal.SIGINT,
    "usr2": signal.SIGUSR2,
}


class Action:
    """One interruption that waits for its point."""

    def __init__(self, order: Mapping[str, object]) -> None:
        self.point = str(order["point"])
        self.generation = order.get("generation")
        self.first_step = _number(order.get("step"), 0)
        self.remaining = int(_number(order.get("nth"), 1))
        self.what = str(order["do"]).split("-")
        self.delay_s = _number(order.get("delay_s"), 0.0)
        self.after = bool(order.get("after", False))
        self.fired = False
        unknown = [word for word in self.what if word not in _SIGNALS and word != "file"]
        if unknown:
            raise ValueError(f"{names.DRILL} asks for an unknown action {unknown[0]!r}")

    def due(self, point: str, step: int) -> bool:
        """Return whether it fires now; counts how often its point was reached."""
        if self.fired or point != self.point or step < self.first_step:
            return False
        self.remaining -= 1
        self.fired = self.remaining <= 0
        return self.fired


class Drill:
    """The orders of one attempt, and the two files that it writes."""

    def __init__(self, text: str, run_dir: str, generation: int, *, leader: bool) -> None:
        orders = json.loads(text)
        self.drop = frozenset(str(item) for item in orders.get("drop", ()))
        self.save_every = int(orders.get("save_every", 0))
        # Of several ranks only the first one is interrupted and traced.
        self.trace = bool(orders.get("trace", False)) and leader
        actions = [Action(order) for order in orders.get("actions", ())] if leader else []
        self.actions = [one for one in actions if one.generation in (None, generation)]
        self.points: dict[str, list[int]] = {}
        self._began = time.monotonic()
        self.run_dir = run_dir
        self.generation = generation
        self.step = 0
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}

    def reach(self, point: str, step: int) -> None:
        """Fire what is due here; points are reached by the training's and the writer's thread."""
        self.step = max(self.step, step)
        with self._lock:
            self._note(point, step)
            due = [action for action in self._ready() if action.due(point, step)]
        for action in due:
            if action.delay_s > 0:
                _later(action.delay_s, partial(self.fire, action, point))
            else:
                self.fire(action, point)

    def _note(self, point: str, step: int) -> None:
        if self.trace:
            self.points.setdefault(point, []).append(step)
            if point == "finish":
                seconds = round(time.monotonic() - self._began, 3)
                self.append(".points.jsonl", {**self.points, "seconds": seconds})

    def _ready(self) -> list[Action]:
        ready = []
        all_fired = True
        for action in self.actions:
            if all_fired or not action.after:
                ready.append(action)
            all_fired = all_fired and action.fired
        return ready

    def fire(self, action: Action, point: str) -> None:
        """Do it: write it down, then touch the file or send the signal to this very process."""
        self._strike(action.what[0], point)
        for number, what in enumerate(action.what[1:], start=1):
            _later(GAP_S * number, partial(self._strike, what, point))

    def _strike(self, what: str, point: str) -> None:
        note = {"t": time.time(), "point": point, "step": self.step, "what": what}
        self.append(".fired.jsonl", note)
        if what == "file":
            _touch(os.environ.get(names.PREEMPT_FILE) or os.path.join(self.run_dir, names.PREEMPT))
        else:
            os.kill(os.getpid(), _SIGNALS[what])

    def append(self, suffix: str, note: Mapping[str, object]) -> None:
        """Append one line in one write, so that a kill leaves whole lines only."""
        fd = self._files.get(suffix)
        if fd is None:
            folder = os.path.join(self.run_dir, names.TRACE)
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, names.numbered(self.generation, suffix))
            fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
            self._files[suffix] = fd
        os.write(fd, json.dumps(note, separators=(",", ":")).encode() + b"\n")


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) else default


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _later(delay_s: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(delay_s, call)
    timer.daemon = True
    timer.start()


class _Asked:
    """Whether the environment was asked already, and what it said."""

    done = False
    drill: Drill | None = None


def forget() -> None:
    """Ask the environment again at the next call: for a forked process, and for tests."""
    _Asked.done = False
    _Asked.drill = None


def _current() -> Drill | None:
    if not _Asked.done:
        _Asked.done = True
        text = os.environ.get(names.DRILL)
        run_dir = os.environ.get(names.RUN_DIR)
        if text and run_dir:
            generation = int(os.environ.get(names.GENERATION) or 0)
            leader = os.environ.get("RANK", "0") == "0"
            _Asked.drill = Drill(text, run_dir, generation, leader=leader)
    return _Asked.drill


def reach(point: str, *, step: int) -> None:
    """Say that the training is at a named point; a drill may interrupt it here."""
    drill = _current()
    if drill is not None:
        drill.reach(point, step)


def tracing() -> bool:
    """Return whether record() writes anything: digests need not be computed otherwise."""
    drill = _current()
    return drill is not None and drill.trace


def record(kind: str, step: int, digests: Mapping[str, str]) -> None:
    """Append what the training saw, one JSON line: the digest of each item at this step."""
    drill = _current()
    if drill is not None and drill.trace:
        drill.append(".jsonl", {"kind": kind, "step": step, "digests": dict(digests)})


def dropped(item: str) -> bool:
    """Return whether a drill's self-test wants this item left out when a checkpoint is restored."""
    drill = _current()
    return drill is not None and item in drill.drop


def save_due(step: int) -> bool:
    """Return whether a drill wants a periodic save at this boundary.

    A drill's training is over in seconds, before the tuned interval would ever save: without these
    every SIGKILL would begin again at step 0 and prove nothing.
    """
    drill = _current()
    return drill is not None and drill.save_every > 0 and step % drill.save_every == 0
