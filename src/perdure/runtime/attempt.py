"""One attempt of a run in its process: restores, saves, heeds notices, stops.

What a training calls is `run.Run`; this is what stands behind it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from perdure.runtime import control, metrics, names, probe, ranks, rng
from perdure.runtime import keeper as keeping
from perdure.runtime.interval import Interval
from perdure.runtime.metrics import Segment
from perdure.runtime.notice import Notice, Notices
from perdure.runtime.position import Position
from perdure.runtime.store import Store

Logged = Tuple[metrics.Chain, int]


class Interrupted(SystemExit):
    """The run has stopped at a boundary, and is durable; ends the process with code 75."""


class Settings:
    """What `start` was asked for."""

    def __init__(self, seed: int, keep: int, save_every_s: float) -> None:
        self.seed = seed
        self.keep = keep
        self.save_every_s = save_every_s


class Place:
    """What a checkpoint says besides the tracked items, if not as it is now."""

    def __init__(self, generators: Mapping[str, object], logged: Logged) -> None:
        self.generators = generators
        self.logged = logged


class Attempt:
    """The claimed folder, the line to the supervisor, and everything that is saved."""

    def __init__(self, folder: Path, settings: Settings, group: ranks.Ranks) -> None:
        environ = os.environ
        told = environ.get(names.RUN_DIR) == str(folder)
        given = environ.get(names.GENERATION) if told else None
        self.folder = folder
        self.ranks = group
        self.generation = group.claim(str(folder), int(given) if given else None)
        self.seed = settings.seed
        self.position = Position(self.settle)
        self.line = _line(environ if given else {}, folder, group, self.generation)
        # A supervisor that is connected watches the touched file itself, and sends a signal.
        touched = environ.get(names.PREEMPT_FILE) or str(folder / names.PREEMPT)
        self.notices = Notices(
            None if self.line.connected else touched, float(environ.get(names.GRACE_S) or 30)
        )
        store = Store(str(folder), self.generation, keep=settings.keep, rank=group.rank)
        if group.rank == 0:
            store.sweep()
        self.keeper = keeping.Keeper(store, group, Interval(settings.save_every_s), self.line)
        self.segment: Optional[Segment] = None
        self.begun = self.complete = self.save_asked = False
        self.epoch_generators: Mapping[str, object] = {}
        self._stopping = False
        self._prepared = False
        self._seeded: "set[str]" = set()

    def open(self) -> None:
        """Take the signals, seed the generators, say hello."""
        self.notices.install()
        rng.seed_new(self.seed, self._seeded)
        if self.ranks.rank == 0:
            found = keeping.versions(self.ranks.world)
            self.line.send("hello", pid=os.getpid(), api=names.FORMAT, **found)
        probe.reach("startup", step=0)

    # -- restoring ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Restore, once: everything is tracked by now."""
        if self.begun:
            return
        self.begun = True
        rng.seed_new(self.seed, self._seeded)
        began = time.monotonic()
        meta = self.keeper.restore()
        chain: metrics.Chain = []
        rows = 0
        if meta is not None:
            self._take_over(meta)
            if not probe.dropped("metrics"):
                chain, rows = _logged(meta)
        if self.ranks.rank == 0:
            self.segment = Segment(str(self.folder), self.generation, chain, rows)
            self.keeper.attach(self.segment)
        self.keeper.interval.start(time.monotonic())
        self._tell_restored(meta, time.monotonic() - began)
        if not self.position.replaying:
            self._arrive()

    def _take_over(self, meta: Mapping[str, object]) -> None:
        self.seed = int(str(meta["seed"]))
        self.complete = bool(meta["complete"])
        place = meta["position"]
        if isinstance(place, dict) and not probe.dropped("position"):
            self.position.restore(place)
        history = meta["interval"]
        assert isinstance(history, dict)
        unannounced = meta["reason"] not in ("notice", "final")
        self.keeper.interval.events = float(history["events"]) + unannounced
        self.keeper.interval.observed_s = float(history["observed_s"])
        self.epoch_generators = self.keeper.generators("epoch_rng") or {}

    def _tell_restored(self, meta: Optional[Mapping[str, object]], seconds: float) -> None:
        origin = None if meta is None else meta["generation"]
        step = self.position.step
        if self.ranks.rank == 0:
            self.line.send("restored", step=step, generation=origin, seconds=round(seconds, 4))
        if meta is not None and self.ranks.rank == 0:
            end = "; it is complete" if self.complete else ""
            control.say(
                f"attempt {self.generation} goes on from step {step}, "
                f"saved by attempt {origin}{end}"
            )
        probe.reach("restored", step=step)

    def settle(self) -> None:
        """Put back once more what a replay has touched: it has come to the snapshot's place."""
        self.keeper.settle()
        self._arrive()

    def _arrive(self) -> None:
        """Put the generators back where the snapshot was taken, and let go of it."""
        states = self.keeper.generators("rng")
        if states is not None:
            self.put_generators(states)
        self.trace("restored")
        self.keeper.release()

    def put_generators(self, states: Mapping[str, object]) -> None:
        """Put the random number generators into these states."""
        rng.restore(states, lambda name: not probe.dropped(f"rng.{name}"))

    # -- boundaries ---------------------------------------------------------------------------

    def step_done(self, *, end: bool) -> None:
        """A step is over. At the end of a pass nothing is saved: the next boundary is near."""
        self.position.step += 1
        probe.reach("boundary", step=self.position.step)
        self.trace("boundary")
        if self.ranks.rank == 0:
            self.line.step(self.position.step)
        if not self._prepared:
            # After the first step the optimizer's state is there as well.
            self._prepared = True
            self.keeper.prepare(self.place().generators)
        self.keeper.collect()
        if not end:
            self.act(periodic=True)

    def act(self, *, periodic: bool) -> None:
        """Do at a boundary what all ranks agree on."""
        if self._stopping:
            # The first one was caught by the training: nothing may run after what is durable.
            raise Interrupted(names.EXIT_INTERRUPTED)
        wanted: Optional[str] = None
        if self.pending() is not None:
            wanted = ranks.STOP
        elif periodic and self._save_due():
            wanted = ranks.SAVE
        agreed = self.ranks.agree(self.position.step, wanted)
        if agreed == ranks.STOP:
            self.stop(self.pending() or Notice("another rank"))
        elif agreed == ranks.SAVE:
            self.save_asked = False
            self.save("interval")

    def _save_due(self) -> bool:
        if probe.save_due(self.position.step):
            # A drill's saves are at its steps, however slow the disk: it waits for the one before.
            return True
        if self.keeper.busy():
            return False
        return self.save_asked or self.keeper.interval.due(time.monotonic())

    def pending(self) -> Optional[Notice]:
        """Return the notice, if there is one."""
        notice = self.line.poll()
        if notice is not None:
            self.notices.give(notice)
        return self.notices.pending()

    def heed(self, place: Optional[Place]) -> None:
        """Act on a notice inside a loop that trains nothing.

        `place` is where that loop began; None inside a step, which goes on to its end unless the
        time left is too short.
        """
        notice = self.pending()
        if notice is None or self.ranks.world > 1 or self.position.replaying:
            return
        if place is not None:
            self.stop(notice, place)
        elif _seconds_left(notice) < 2 * self.keeper.interval.write_s + 1:
            self.leave(notice)

    def stop(self, notice: Notice, place: Optional[Place] = None) -> None:
        """Make this place durable and end the process, or let the save under way be the last."""
        told = self.line.poll(at_once=True) or notice
        left = _seconds_left(notice if told.deadline is None else told)
        hurried = left < 1.5 * self.keeper.interval.write_s
        if not (hurried and self.keeper.busy() and self.ranks.world == 1):
            self.save("notice", place=place)
        self.leave(told)

    def leave(self, notice: Notice) -> None:
        """End the process with what is durable."""
        self._stopping = True
        self.keeper.finish()
        self.notices.acknowledge(self.generation)
        step, durable = self.position.step, self.keeper.durable_step
        if self.ranks.rank == 0:
            code, reason = names.EXIT_INTERRUPTED, notice.reason
            self.line.send("exiting", code=code, step=step, durable_step=durable, reason=reason)
            where = "nothing is durable yet" if durable is None else f"step {durable} is durable"
            control.say(f"interrupted ({reason}) at step {step}; {where}")
        self.notices.mute()
        raise Interrupted(names.EXIT_INTERRUPTED)

    # -- saving -------------------------------------------------------------------------------

    def place(self) -> Place:
        """Return the place as it is now."""
        segment = self.segment
        logged: Logged = ([], 0) if segment is None else (segment.chain(), segment.rows)
        generators = {"rng": rng.capture(), "epoch_rng": self.epoch_generators}
        return Place(generators, logged)

    def save(self, reason: str, *, complete: bool = False, place: Optional[Place] = None) -> None:
        """Take a snapshot and begin to write it, after the one under way."""
        if self.keeper.busy():
            self.keeper.wait()
        self.keeper.collect()
        place = place or self.place()
        interval = self.keeper.interval
        meta = {
            "step": self.position.step,
            "generation": self.generation,
            "complete": complete,
            "reason": reason,
            "position": self.position.snapshot(),
            "seed": self.seed,
            "metrics": place.logged[0],
            "rows": place.logged[1],
            "interval": {"events": interval.events, "observed_s": interval.observed_s},
            "versions": keeping.versions(self.ranks.world),
        }
        self.keeper.save(meta, place.generators)

    def finish(self) -> None:
        """Make the end of the run durable.

        Raises:
            SaveError: it did not reach the disk.
        """
        self.begin()
        if self.complete:
            return
        self.ranks.finish()
        self.save("final", complete=True)
        self.keeper.finish()
        self.complete = True
        probe.reach("finish", step=self.position.step)

    def trace(self, kind: str) -> None:
        """Tell a drill what the state is."""
        if probe.tracing():
            digests: Dict[str, str] = self.keeper.digests()
            digests["position"] = keeping.digest(self.position.snapshot())
            digests["metrics"] = str(self.place().logged[1])
            probe.record(kind, self.position.step, digests)


def _line(
    environ: Mapping[str, str], folder: Path, group: ranks.Ranks, generation: int
) -> control.Control:
    # One rank speaks and listens for all: they would take each other's words off the line.
    heard = dict(environ) if group.rank == 0 else {}
    if group.world > 1:
        # torchrun closes the line; by now its number can be any connection between the ranks.
        heard.pop(names.CTL_FD, None)
    # The supervisor's number: torchrun may start the ranks again within one attempt.
    number = int(environ.get(names.ATTEMPT) or generation)
    return control.Control(heard, str(folder), number)


def _seconds_left(notice: Notice) -> float:
    return float("inf") if notice.deadline is None else notice.deadline - time.time()


def _logged(meta: Mapping[str, object]) -> Logged:
    saved = meta["metrics"]
    assert isinstance(saved, list)
    chain: List[Tuple[str, int]] = [(str(name), int(count)) for name, count in saved]
    return chain, int(str(meta["rows"]))
