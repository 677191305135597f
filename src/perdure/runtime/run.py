"""A training that carries on: the object that `perdure.start` returns.

Snapshots are taken at step boundaries only: where the training asks for its next batch. There the
step is over, no gradient is half applied, and what comes next is known.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Callable, Dict, Iterator, Mapping, Optional, Tuple, Type, TypeVar, Union

from perdure.runtime import control, loader, metrics, names, order, probe, ranks, rng
from perdure.runtime import keeper as keeping
from perdure.runtime.faults import Fault, MisuseError
from perdure.runtime.generation import Fenced
from perdure.runtime.interval import Interval
from perdure.runtime.notice import Notice, Notices
from perdure.runtime.position import POLL, Position
from perdure.runtime.store import Store
from perdure.runtime.tracked import adapt

T = TypeVar("T")
Begin = Callable[[int], Tuple[Iterator[object], int]]


class Interrupted(SystemExit):
    """The run has stopped at a boundary, and is durable; ends the process with code 75."""


class Run:
    """One attempt at a training. Made by `start`."""

    def __init__(self, folder: Path, settings: "Settings", group: ranks.Ranks) -> None:
        environ = os.environ
        self.folder = folder
        self.outputs = folder / names.OUTPUTS
        self.outputs.mkdir(parents=True, exist_ok=True)
        self._ranks = group
        given = environ.get(names.GENERATION) if _is_told(folder) else None
        self.generation = group.claim(str(folder), int(given) if given else None)
        self.seed = settings.seed
        self.position = Position(self._settle)
        self._control = control.Control(environ if given else {}, str(folder), self.generation)
        self._notices = Notices(
            environ.get(names.PREEMPT_FILE, str(folder / names.PREEMPT)),
            float(environ.get(names.GRACE_S, "30")),
        )
        store = Store(str(folder), self.generation, keep=settings.keep, rank=group.rank)
        if group.rank == 0:
            store.sweep()
        self._keeper = keeping.Keeper(store, group, Interval(settings.save_every_s), self._control)
        self._seeded: "set[str]" = set()
        self._segment: Optional[metrics.Segment] = None
        self._epoch_generators: Mapping[str, object] = {}
        self._begun = self._complete = self._stopping = self._save_asked = False
        self._in_epochs = self._log_warned = False
        self._loaders = 0
        self._notices.install()
        rng.seed_new(self.seed, self._seeded)
        self._control.send("hello", **_hello(group.world))
        probe.reach("startup", step=0)

    # -- what a training sees -----------------------------------------------------------------

    @property
    def step(self) -> int:
        """Steps done so far."""
        return self.position.step

    @property
    def epoch(self) -> int:
        """The epoch under way, from 0."""
        return self.position.epoch

    @property
    def rank(self) -> int:
        """This process's number among those that train together, from 0."""
        return self._ranks.rank

    @property
    def world(self) -> int:
        """How many processes train together."""
        return self._ranks.world

    def track(self, **items: object) -> None:
        """Make these part of every checkpoint: models, optimizers, schedules, dicts, (get, set).

        Raises:
            StateError: one of them is of a kind that cannot be saved without loss.
            MisuseError: the run has begun already, or a name is taken.
        """
        if self._begun:
            raise MisuseError("track() after the run has begun", "track before the first epoch")
        for name, value in items.items():
            if name in self._keeper.items:
                raise MisuseError(f"`{name}` is tracked already")
            self._keeper.items[name] = adapt(name, value)

    def loader(
        self,
        dataset: loader.Dataset,
        *,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        accumulate: int = 1,
        **options: object,
    ) -> loader.Loader:
        """Return batches of a map-style data set, to be iterated inside `epochs`.

        Args:
            accumulate: batches to an optimizer step; boundaries are passed at its multiples only.
            options: handed to torch's DataLoader (num_workers, collate_fn, pin_memory ...).

        Raises:
            MisuseError: the data set has no items by index.
        """
        loader.check_dataset(dataset)
        self._loaders += 1
        plan = loader.Plan(batch_size, shuffle, drop_last, accumulate)
        return loader.Loader(self, f"loader-{self._loaders}", dataset, plan, options)

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs from the one the run is in; restores first, and saves at the end."""
        self._begin()
        self._in_epochs = True
        while self.position.epoch < count and not self._complete:
            self._open_epoch()
            before, epoch = self.step, self.position.epoch
            yield epoch
            self._close_epoch(before, last=epoch + 1 >= count)
        self._in_epochs = False
        self.finish()

    def steps(self, count: int) -> Iterator[int]:
        """Yield step numbers below `count`, with a boundary after each: for loops without a loader."""
        self._begin()
        if not self._complete:
            yield from self.walk("steps", lambda start: (iter(range(start, count)), count), 1)
        if not self._in_epochs:
            self.finish()

    def poll(self, iterable: "Union[Iterator[T], loader.Loader]") -> Iterator[T]:
        """Yield the items of a loop that trains nothing, such as validation, heeding notices.

        A notice that comes here is acted upon at once: the checkpoint says that this loop is next.
        Inside an open loader it waits for the step's end, unless the time left is too short.
        """
        self._begin()
        inner = bool(self.position.open)
        if not inner:
            self.position.enter(POLL)
        before = self._generators() if not inner else {}
        chain, rows = self._chain()
        try:
            for item in iterable:
                probe.reach("eval", step=self.step)
                self._heed(inner, before, (chain, rows))
                yield item  # type: ignore[misc]
        finally:
            if not inner:
                self.position.leave(POLL)

    def log(self, **values: object) -> None:
        """Append a row of metrics to the run folder: numbers, strings, 0-d arrays.

        Only rank 0 writes. A row that the disk does not take is kept and written later.
        """
        self._begin()
        if self.rank or self.position.replaying or self._segment is None:
            return
        row = {name: metrics.plain(value) for name, value in values.items()}
        problem = self._segment.log({"step": self.step, "epoch": self.epoch, **row})
        if problem is not None and not self._log_warned:
            self._log_warned = True
            self._keeper.warn(f"metrics cannot be written ({problem}); they are kept in memory")

    def save(self) -> None:
        """Ask for a checkpoint at the next step boundary."""
        self._save_asked = True

    def finish(self) -> None:
        """Make the end of the run durable. `epochs` calls it; call it yourself after a `break`.

        Raises:
            SaveError: it did not reach the disk.
        """
        self._begin()
        if self._complete:
            return
        self._ranks.finish()
        self._save("final", complete=True)
        self._keeper.finish()
        self._complete = True
        probe.reach("finish", step=self.step)

    # -- the life of a run --------------------------------------------------------------------

    def _begin(self) -> None:
        """Restore, once: everything is tracked by now."""
        if self._begun:
            return
        self._begun = True
        rng.seed_new(self.seed, self._seeded)
        began = time.monotonic()
        meta = self._keeper.restore()
        chain: metrics.Chain = []
        rows = 0
        if meta is not None:
            self._take_over(meta)
            if not probe.dropped("metrics"):
                chain, rows = meta["metrics"], int(str(meta["rows"]))  # type: ignore[assignment]
        if self.rank == 0:
            self._segment = metrics.Segment(str(self.folder), self.generation, chain, rows)
            self._keeper.attach(self._segment)
        self._keeper.interval.start(time.monotonic())
        self._tell_restored(meta, time.monotonic() - began)
        if not self.position.replaying:
            self._settle()

    def _take_over(self, meta: Mapping[str, object]) -> None:
        self.seed = int(str(meta["seed"]))
        self._complete = bool(meta["complete"])
        if not probe.dropped("position"):
            self.position.restore(meta["position"])  # type: ignore[arg-type]
        history = meta.get("interval")
        if isinstance(history, dict):
            unannounced = meta["reason"] not in ("notice", "final")
            self._keeper.interval.events = float(history["events"]) + unannounced
            self._keeper.interval.observed_s = float(history["observed_s"])
        self._epoch_generators = self._keeper.generators("epoch_rng") or {}

    def _tell_restored(self, meta: Optional[Mapping[str, object]], seconds: float) -> None:
        origin = None if meta is None else meta["generation"]
        self._control.send("restored", step=self.step, generation=origin, seconds=round(seconds, 4))
        if meta is not None:
            control.say(
                f"attempt {self.generation} goes on from step {self.step}, saved by attempt {origin}"
            )
        probe.reach("restored", step=self.step)

    def _settle(self) -> None:
        """Put back once more what a replay has touched, and the generators."""
        if self._keeper.generators("rng") is not None:
            self._keeper.settle()
            self._restore_generators(self._keeper.generators("rng") or {})
        self._trace("restored")
        self._keeper.release()

    def _restore_generators(self, states: Mapping[str, object]) -> None:
        rng.restore(states, lambda name: not probe.dropped(f"rng.{name}"))

    def _open_epoch(self) -> None:
        probe.reach("epoch", step=self.step)
        if self.position.replaying:
            self._restore_generators(self._epoch_generators)
        else:
            self._epoch_generators = rng.capture()

    def _close_epoch(self, before: int, *, last: bool) -> None:
        stepped = self.step > before or bool(self.position.passes)
        self.position.begin_epoch(self.position.epoch + 1)
        self._epoch_generators = rng.capture()
        if not stepped:
            self.position.step += 1
        self._act(periodic=not last)

    def walk(
        self,
        source: str,
        begin: Begin,
        accumulate: int,
        note: Optional[Callable[[int], None]] = None,
    ) -> Iterator[object]:
        """Yield a source's items with a boundary after each window: the engine of all loops."""
        self._begin()
        if source != "steps" and not self._in_epochs:
            raise MisuseError(
                "a loader is iterated outside of `run.epochs`",
                "write `for epoch in run.epochs(n):` around it",
            )
        start = self.position.enter(source)
        if start is None:
            return
        try:
            items, count = begin(start)
            outer, used = self.position.outermost(source), start
            for item in items:
                if outer:
                    self._hand_out(item)
                if note is not None:
                    note(used + 1)
                yield item
                used = self.position.advance(source)
                if outer and (used % accumulate == 0 or used == count):
                    self._boundary(end=used == count)
        finally:
            self.position.leave(source)

    def _hand_out(self, item: object) -> None:
        probe.reach("fetch", step=self.step)
        if probe.tracing():
            probe.record("batch", self.step, {"batch": _batch_digest(item)})

    def _boundary(self, *, end: bool) -> None:
        """A step is over. At the end of a pass nothing is saved: the next boundary is near."""
        self.position.step += 1
        probe.reach("boundary", step=self.step)
        self._trace("boundary")
        self._control.step(self.step)
        if self.generation and self.step and not self._keeper.busy():
            self._keeper.collect()
        if not end:
            self._act(periodic=True)

    def _act(self, *, periodic: bool) -> None:
        """Do at a boundary what all ranks agree on."""
        if self._stopping:
            raise Interrupted(names.EXIT_INTERRUPTED)
        wanted: Optional[str] = None
        if self._pending() is not None:
            wanted = ranks.STOP
        elif periodic and self._save_due():
            wanted = ranks.SAVE
        agreed = self._ranks.agree(self.step, wanted)
        if agreed == ranks.STOP:
            self._stop(self._pending() or Notice("another rank"))
        elif agreed == ranks.SAVE:
            self._save_asked = False
            self._save("interval")

    def _save_due(self) -> bool:
        if self._keeper.busy():
            return False
        now = time.monotonic()
        return self._save_asked or probe.save_due(self.step) or self._keeper.interval.due(now)

    def _pending(self) -> Optional[Notice]:
        notice = self._control.poll()
        if notice is not None:
            self._notices.give(notice)
        return self._notices.pending()

    def _heed(
        self, inner: bool, generators: Mapping[str, object], logged: "tuple[metrics.Chain, int]"
    ) -> None:
        """Act on a notice inside a loop that trains nothing."""
        notice = self._pending()
        if notice is None or self.world > 1 or self.position.replaying:
            return
        if not inner:
            self._stop(notice, generators, logged)
        elif notice.deadline is not None:
            left = notice.deadline - time.time()
            if left < 2 * self._keeper.interval.write_s + 1:
                self._leave(notice)

    def _stop(
        self,
        notice: Notice,
        generators: Optional[Mapping[str, object]] = None,
        logged: "Optional[tuple[metrics.Chain, int]]" = None,
    ) -> None:
        """Make this place durable and end the process, or let the save under way be the last."""
        self._stopping = True
        told = self._control.poll(at_once=True) or notice
        deadline = told.deadline if told.deadline is not None else notice.deadline
        left = float("inf") if deadline is None else deadline - time.time()
        if not (self._keeper.busy() and left < self._keeper.interval.write_s * 1.5):
            self._save("notice", generators=generators, logged=logged)
        self._leave(told)

    def _leave(self, notice: Notice) -> None:
        self._stopping = True
        self._keeper.finish()
        self._notices.acknowledge(self.generation)
        durable = self._keeper.durable_step
        self._control.send(
            "exiting",
            code=names.EXIT_INTERRUPTED,
            step=self.step,
            durable_step=durable,
            reason=notice.reason,
        )
        where = "nothing is durable yet" if durable is None else f"step {durable} is durable"
        control.say(f"interrupted ({notice.reason}) at step {self.step}; {where}")
        raise Interrupted(names.EXIT_INTERRUPTED)

    def _chain(self) -> "tuple[metrics.Chain, int]":
        return ([], 0) if self._segment is None else (self._segment.chain(), self._segment.rows)

    def _generators(self) -> Dict[str, object]:
        return {"rng": rng.capture(), "epoch_rng": self._epoch_generators}

    def _save(
        self,
        reason: str,
        *,
        complete: bool = False,
        generators: Optional[Mapping[str, object]] = None,
        logged: "Optional[tuple[metrics.Chain, int]]" = None,
    ) -> None:
        if self._keeper.busy():
            self._keeper.finish()
        self._keeper.collect()
        chain, rows = logged if logged is not None else self._chain()
        meta = {
            "step": self.step,
            "generation": self.generation,
            "complete": complete,
            "reason": reason,
            "position": self.position.snapshot(),
            "seed": self.seed,
            "metrics": chain,
            "rows": rows,
            "interval": {
                "events": self._keeper.interval.events,
                "observed_s": self._keeper.interval.observed_s,
            },
            "versions": keeping.versions(self.world),
        }
        self._keeper.save(meta, generators if generators is not None else self._generators())

    def _trace(self, kind: str) -> None:
        if probe.tracing():
            digests = self._keeper.digests()
            digests["position"] = keeping.digest(self.position.snapshot())
            digests["metrics"] = str(self._chain()[1])
            probe.record(kind, self.step, digests)


class Settings:
    """What `start` was asked for."""

    def __init__(self, seed: int, keep: int, save_every_s: float) -> None:
        self.seed = seed
        self.keep = keep
        self.save_every_s = save_every_s


def start(
    seed: Optional[int] = None,
    *,
    folder: Union[str, "os.PathLike[str]", None] = None,
    keep: int = 3,
    save_every: Union[str, float] = "auto",
) -> Run:
    """Return the run of this process: its folder claimed, its generators seeded, nothing restored.

    Args:
        seed: of all generators; without it the job's (PERDURE_SEED), else one is drawn.
        folder: the run folder; without it the job's (PERDURE_RUN_DIR), else a new one in results/.
        keep: how many checkpoints are kept.
        save_every: seconds between checkpoints, or "auto" to let the run tune it.

    Raises:
        MisuseError: an argument makes no sense.
        OSError: the folder cannot be written.
    """
    _report_faults_plainly()
    if keep < 1:
        raise MisuseError(f"keep={keep}: at least one checkpoint is kept")
    if save_every != "auto" and not (isinstance(save_every, (int, float)) and save_every > 0):
        raise MisuseError(f"save_every={save_every!r}: seconds above 0, or `auto`")
    if seed is None:
        told = os.environ.get(names.SEED)
        seed = int(told) if told else secrets.randbits(31)
    every = 0.0 if save_every == "auto" else float(save_every)
    where = Path(folder or os.environ.get(names.RUN_DIR) or _new_folder())
    where.mkdir(parents=True, exist_ok=True)
    return Run(where, Settings(seed, keep, every), _ranks())


def _ranks() -> ranks.Ranks:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from perdure.runtime import group

        return group.join()
    return ranks.Solo()


def _is_told(folder: Path) -> bool:
    """Say whether the environment speaks of this very folder."""
    told = os.environ.get(names.RUN_DIR)
    return told is not None and Path(told) == folder


def _new_folder() -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = os.path.join("results", f"direct-{stamp}-{os.getpid()}")
    control.say(f"run folder `{path}`; to go on in it: {names.RUN_DIR}={path}")
    return path


def _hello(world: int) -> Dict[str, object]:
    return {"pid": os.getpid(), "api": names.FORMAT, **keeping.versions(world)}


def _batch_digest(item: object) -> str:
    try:
        return keeping.digest(item)
    except Fault:
        return f"{order.key(repr(item)):016x}"


@contextmanager
def fenced_exit() -> Iterator[None]:
    """End the process with code 76 when another attempt owns the run folder."""
    try:
        yield
    except Fenced as fence:
        control.say(str(fence))
        raise SystemExit(names.EXIT_FENCED) from fence


def _report_faults_plainly() -> None:
    """Show what this runtime has to say as an error and a hint; other exceptions as ever."""
    if os.environ.get(names.DEBUG) or sys.excepthook is not sys.__excepthook__:
        return

    def report(
        kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]
    ) -> None:
        if isinstance(error, Fault):
            print(f"error: {error}", file=sys.stderr, flush=True)
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = report
