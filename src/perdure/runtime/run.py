"""A training that carries on: the object that `perdure.start` returns.

Snapshots are taken at step boundaries only: where the training asks for its next batch. There the
step is over, no gradient is half applied, and what comes next is known.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Callable, Iterable, Iterator, Optional, Tuple, Type, TypeVar, Union

from perdure.runtime import control, keeper, loader, metrics, names, order, probe, ranks, rng
from perdure.runtime.attempt import Attempt, Interrupted, Settings
from perdure.runtime.faults import Fault, MisuseError
from perdure.runtime.position import POLL
from perdure.runtime.tracked import adapt

__all__ = ["Interrupted", "Run", "start"]

T = TypeVar("T")


class Run:
    """One attempt at a training. Made by `start`."""

    def __init__(self, attempt: Attempt) -> None:
        self.outputs = attempt.folder / names.OUTPUTS
        self.outputs.mkdir(parents=True, exist_ok=True)
        self._attempt = attempt
        self._position = attempt.position
        self._in_epochs = False
        self._looped = False
        self._log_warned = False
        self._loaders = 0

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._attempt.folder

    @property
    def seed(self) -> int:
        """The seed of all generators, and of the order of the data."""
        return self._attempt.seed

    @property
    def step(self) -> int:
        """Steps done so far."""
        return self._position.step

    @property
    def epoch(self) -> int:
        """The epoch under way, from 0."""
        return self._position.epoch

    @property
    def rank(self) -> int:
        """This process's number among those that train together, from 0."""
        return self._attempt.ranks.rank

    @property
    def world(self) -> int:
        """How many processes train together."""
        return self._attempt.ranks.world

    def passes(self, source: str) -> int:
        """Return how many passes over a loader are over in this epoch."""
        return self._position.passes.get(source, 0)

    def track(self, **items: object) -> None:
        """Make these part of every checkpoint: models, optimizers, schedules, dicts, (get, set).

        Raises:
            StateError: one of them is of a kind that cannot be saved without loss.
            MisuseError: the run has begun already, or a name is taken.
        """
        if self._attempt.begun:
            raise MisuseError("track() after the run has begun", "track before the first epoch")
        for name, value in items.items():
            if name in self._attempt.keeper.items:
                raise MisuseError(f"`{name}` is tracked already")
            self._attempt.keeper.items[name] = adapt(name, value)

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
            dataset: items by index, and a length.
            batch_size: items a batch, for each rank.
            shuffle: another order in each epoch, else the data set's own.
            drop_last: leave out a last batch that is smaller.
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
        """Yield the epochs from the one the run is in; restores first, and saves at the end.

        Raises:
            MisuseError: this or `steps` was the run's loop already.
        """
        self._begin_loop()
        self._in_epochs = True
        while self._position.epoch < count and not self._attempt.complete:
            self._open_epoch()
            before, epoch = self.step, self._position.epoch
            yield epoch
            self._close_epoch(before, last=epoch + 1 >= count)
        self._in_epochs = False
        self.finish()

    def steps(self, count: int) -> Iterator[int]:
        """Yield step numbers below `count`, a boundary after each: for loops without a loader.

        Raises:
            MisuseError: outside of `epochs`, this or `epochs` was the run's loop already.
        """
        if not self._in_epochs:
            self._begin_loop()
        if self._in_epochs or not self._attempt.complete:

            def begin(start: int) -> Tuple[Iterator[int], int]:
                return iter(range(start, count)), count

            yield from self.walk("steps", begin, 1)
        if not self._in_epochs:
            self.finish()

    def poll(self, iterable: Iterable[T]) -> Iterator[T]:
        """Yield the items of a loop that trains nothing, such as validation, heeding notices.

        A notice that comes here is acted upon at once: the checkpoint says that this loop is next.
        Inside an open loader it waits for the step's end, unless the time left is too short.
        """
        attempt, position = self._attempt, self._position
        attempt.begin()
        inside = bool(position.open)
        if not inside and self._in_epochs:
            position.enter(POLL)
        place = None if inside else attempt.place()
        try:
            for item in iterable:
                probe.reach("eval", step=self.step)
                if not inside and not self._in_epochs:
                    self._heed_outside()
                else:
                    attempt.heed(place)
                yield item
        finally:
            if not inside and self._in_epochs:
                position.leave(POLL)

    def _heed_outside(self) -> None:
        """Before the first epoch and after the last, everything is durable that ever will be.

        Several ranks wait for the next boundary, so that none leaves the others alone.
        """
        notice = self._attempt.pending()
        if notice is not None and self.world == 1:
            self._attempt.leave(notice)

    def log(self, **values: object) -> None:
        """Append a row of metrics to the run folder: numbers, strings, 0-d arrays.

        Only rank 0 writes. A row that the disk does not take is kept and written later.
        """
        attempt = self._attempt
        attempt.begin()
        if self._position.replaying or attempt.segment is None:
            return
        row = {name: metrics.plain(value) for name, value in values.items()}
        problem = attempt.segment.log({"step": self.step, "epoch": self.epoch, **row})
        if problem is not None and not self._log_warned:
            self._log_warned = True
            attempt.keeper.warn(f"metrics cannot be written ({problem}); they are kept in memory")

    def save(self) -> None:
        """Ask for a checkpoint at the next step boundary."""
        self._attempt.save_asked = True

    def finish(self) -> None:
        """Make the end of the run durable. `epochs` calls it; call it yourself after a `break`.

        Raises:
            SaveError: it did not reach the disk.
        """
        self._attempt.finish()

    # -- loops --------------------------------------------------------------------------------

    def _begin_loop(self) -> None:
        if self._looped:
            raise MisuseError(
                "a run has one loop: `run.epochs` or `run.steps`, called once",
                "put the phases of a training into one `for epoch in run.epochs(n)`",
            )
        self._looped = True
        self._attempt.begin()

    def _open_epoch(self) -> None:
        if self._position.replaying:
            self._attempt.put_generators(self._attempt.epoch_generators)
        else:
            self._attempt.epoch_generators = rng.capture()

    def _close_epoch(self, before: int, *, last: bool) -> None:
        """End an epoch; one that took no step of its own is a step itself."""
        looped = any(source != POLL for source in self._position.passes)
        self._position.begin_epoch(self._position.epoch + 1)
        self._attempt.epoch_generators = rng.capture()
        if self.step == before and not looped:
            self._attempt.step_done(end=True)
        self._attempt.act(periodic=not last)

    def walk(
        self,
        source: str,
        begin: Callable[[int], Tuple[Iterator[T], int]],
        accumulate: int,
        note: Optional[Callable[[int], None]] = None,
    ) -> Iterator[T]:
        """Yield a source's items with a boundary after each window: the engine of all loops.

        Args:
            source: a name for the position.
            begin: gives the items from a number on, and how many there are in all.
            accumulate: items to a step.
            note: told before each item how many will have been used.

        Raises:
            MisuseError: a loader is iterated outside of `epochs`.
        """
        self._check_looped()
        position = self._position
        start = position.enter(source)
        if start is None:
            return
        try:
            items, count = begin(start)
            outer = position.outermost(source)
            for item in items:
                if outer:
                    self._hand_out(item)
                # Counted before it is used: a loader beside this one passes the boundary.
                used = position.advance(source)
                if note is not None:
                    note(used)
                yield item
                if outer and (used % accumulate == 0 or used == count):
                    self._attempt.step_done(end=used == count)
        finally:
            position.leave(source)

    def _check_looped(self) -> None:
        if not self._looped:
            raise MisuseError(
                "a loader is iterated outside of `run.epochs`",
                "write `for epoch in run.epochs(n):` around it",
            )

    def _hand_out(self, item: object) -> None:
        probe.reach("fetch", step=self.step)
        if probe.tracing():
            probe.record("batch", self.step, {"batch": _batch_digest(item)})


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
        seed = int(told) if told else int.from_bytes(os.urandom(4), "little") >> 1
    every = 0.0 if save_every == "auto" else float(save_every)
    group = _ranks()
    chosen = folder or os.environ.get(names.RUN_DIR) or (_new_folder() if group.rank == 0 else "")
    where = Path(group.share(str(chosen)))
    where.mkdir(parents=True, exist_ok=True)
    settings = Settings(int(group.share(str(seed))), keep, every)
    attempt = Attempt(where, settings, group)
    attempt.open()
    return Run(attempt)


def _ranks() -> ranks.Ranks:
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        from perdure.runtime import group

        return group.join()
    return ranks.Solo()


def _new_folder() -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = os.path.join("results", f"direct-{stamp}-{os.getpid()}")
    control.say(f"run folder `{path}`; to go on in it: {names.RUN_DIR}={path}")
    return path


def _batch_digest(item: object) -> str:
    try:
        return keeper.digest(item)
    except Fault:
        return f"{order.key(repr(item)):016x}"


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
