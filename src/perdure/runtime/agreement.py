"""At which step all ranks act, without a collective in any step.

Somebody leaves a request. A thread of each rank sees it, and reports the last boundary that its
rank's training has passed; from then on the training waits at its next boundary. Rank 0's thread
takes all reports and sets the target: the highest report plus one. Nobody has passed it, so
everybody acts at the first boundary from there on. A request that comes after a rank's last
boundary has no target: all run to the end.
"""

from __future__ import annotations

import json
import math
import threading
import time
from typing import List, Optional, Set, Tuple

from perdure.runtime.exchange import Exchange
from perdure.runtime.faults import GroupError
from perdure.runtime.ranks import SAVE, STOP

# A rank's thread answers while its training computes; only a dead or frozen process is this late.
ANSWER_LIMIT_S = 120.0
_LOOK_EVERY_S = 0.03


class Agreement:
    """One rank's part: `agree` for the training, and the thread that answers requests."""

    def __init__(self, exchange: Exchange, limit_s: float = ANSWER_LIMIT_S) -> None:
        self._exchange = exchange
        self._limit_s = limit_s
        self._changed = threading.Condition()
        self._passed = -1.0
        self._reported = 0
        self._decided = 0
        self._targets: List[Tuple[float, str]] = []
        self._asked: Set[Tuple[int, str]] = set()
        self._lost: Optional[Exception] = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="perdure-ranks", daemon=True)

    def start(self) -> None:
        """Begin to answer requests."""
        self._thread.start()

    def close(self) -> None:
        """End the thread: before the interpreter goes, which a thread inside torch may not see."""
        self._closing.set()
        self._thread.join(1.0)

    # -- the training's side ------------------------------------------------------------------

    def agree(self, step: int, wanted: Optional[str]) -> Optional[str]:
        """Return what all ranks do at this boundary; asks for what is wanted.

        Only rank 0 asks for saves. What is wanted happens a boundary or two later.

        Raises:
            GroupError: another rank does not answer.
        """
        if wanted == STOP or (wanted == SAVE and self._exchange.rank == 0):
            self._ask(wanted)
        with self._changed:
            self._await_decision()
            due = [what for target, what in self._targets if target <= step]
            self._targets = [(target, what) for target, what in self._targets if target > step]
            self._passed = max(self._passed, float(step))
        if not due:
            return None
        return STOP if STOP in due else SAVE

    def finish(self) -> None:
        """Note that the last boundary is passed."""
        with self._changed:
            self._passed = math.inf

    def _ask(self, wanted: str) -> None:
        with self._changed:
            number = self._decided
            coming = {what for _, what in self._targets}
            if (number, wanted) in self._asked or STOP in coming or wanted in coming:
                return
            self._asked.add((number, wanted))
        if wanted == STOP:
            # Before the request, so that whoever decides about it sees this first.
            self._exchange.put(STOP, "")
        self._exchange.put(f"request/{number}", wanted)

    def _await_decision(self) -> None:
        """Wait while this rank has reported, and the target is not known yet."""
        until = time.monotonic() + self._limit_s
        while self._reported > self._decided and self._lost is None:
            if not self._changed.wait(max(0.0, until - time.monotonic())):
                self._lost = GroupError(
                    f"the ranks did not agree on a step within {self._limit_s:.0f} s",
                    "one of them has died or hangs; its own log says more",
                )
        if self._lost is not None:
            raise self._lost

    # -- the thread's side --------------------------------------------------------------------

    def _watch(self) -> None:
        number = 0
        try:
            while not self._closing.wait(_LOOK_EVERY_S):
                if self._exchange.has(f"request/{number}"):
                    self._answer(number)
                    number += 1
        except GroupError as error:
            with self._changed:
                self._lost = error
                self._changed.notify_all()

    def _answer(self, number: int) -> None:
        with self._changed:
            self._reported += 1
            passed = self._passed
        self._exchange.put(f"report/{number}/{self._exchange.rank}", json.dumps(passed))
        if self._exchange.rank == 0:
            self._decide(number, passed)
        step, what = json.loads(self._exchange.take(f"target/{number}"))
        with self._changed:
            self._decided += 1
            self._targets.append((float(step), str(what)))
            self._changed.notify_all()

    def _decide(self, number: int, passed: float) -> None:
        reports = self._exchange.take_all(self._exchange.of_others(f"report/{number}"))
        highest = max([passed, *(float(json.loads(text)) for text in reports)])
        what = STOP if self._exchange.has(STOP) else SAVE
        self._exchange.put(f"target/{number}", json.dumps([highest + 1, what]))
