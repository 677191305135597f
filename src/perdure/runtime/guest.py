"""A run whose loop is a framework's: Lightning's, or that of Hugging Face's Trainer.

The framework says when it begins an epoch and when a step is over; data, boundaries, saving and
restoring are the run's. Resuming enters the loop at the top of the interrupted epoch, and at its
first batch everything is put back once more, so that hooks which run again leave no trace.
"""

from __future__ import annotations

from typing import Mapping, Optional, Protocol

from perdure.runtime import libraries, loader
from perdure.runtime.faults import MisuseError
from perdure.runtime.run import Run

SOURCE = "training"
_HANDED_ON = (
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "prefetch_factor",
)


class Guest:
    """A run inside a framework's training."""

    def __init__(self, run: Run) -> None:
        self.run = run
        # The two halves of a run are one package's; users see the first one only.
        self.attempt = run._attempt  # noqa: SLF001
        self._position = self.attempt.position

    @property
    def complete(self) -> bool:
        """Whether the run is over: there is nothing left to train."""
        return self.attempt.complete

    @property
    def replaying(self) -> bool:
        """Whether the loop is still on its way to the place where the snapshot was taken."""
        return self._position.replaying

    def restore(self) -> None:
        """Put the newest checkpoint back into what is tracked, and take the signals once more."""
        self.attempt.notices.install()
        self.attempt.begin()

    def ahead(self) -> int:
        """Return how many batches of this epoch were used before the snapshot, 0 in a new one."""
        return self._position.ahead(SOURCE)

    def prepare(self, epoch: int) -> None:
        """Go to the top of an epoch, unless the run is in it."""
        if self._position.epoch != epoch:
            self._position.begin_epoch(epoch)

    def enter(self, epoch: int) -> int:
        """Begin an epoch, or arrive in it; return the batch to begin with.

        Raises:
            Interrupted: there was a notice, and the run is durable.
        """
        self.prepare(epoch)
        arriving = self._position.replaying
        start: Optional[int] = None
        while start is None:
            start = self._position.enter(SOURCE)
        if not arriving:
            self.attempt.act(periodic=self._position.step > 0)
        return start

    def hand_out(self, item: object) -> None:
        """Tell a drill that this batch is next."""
        self.run._hand_out(item)  # noqa: SLF001

    def used(self, batches: int) -> int:
        """Note that the training has used so many batches; return how many of this epoch."""
        used = 0
        for _ in range(batches):
            used = self._position.advance(SOURCE)
        return used

    def step(self, *, end: bool = False) -> None:
        """Pass a step boundary; at the `end` of an epoch the next one is near.

        Raises:
            Interrupted: there was a notice, and the run is durable.
        """
        self.attempt.step_done(end=end)

    def leave(self) -> None:
        """End the epoch."""
        self._position.leave(SOURCE)

    def log(self, values: Mapping[str, object]) -> None:
        """Append a row of metrics, unless it was written before the interruption."""
        if not self.complete:
            self.run.log(**values)

    def finish(self) -> None:
        """Make the end of the run durable."""
        self.attempt.finish()

    def check_world(self, world: int) -> None:
        """Return if the framework trains with the ranks that the run knows of.

        Raises:
            MisuseError: it started some of them itself.
        """
        if world != self.run.world:
            raise MisuseError(
                f"the trainer has {world} processes, the run {self.run.world}",
                "start all of them with `torchrun`",
            )


class Sampler(Protocol):
    """What is looked at in the sampler of somebody else's loader."""

    def __len__(self) -> int: ...


def plan(sampler: Sampler, length: int, batch_size: object, *, drop_last: bool) -> loader.Plan:
    """Return how to cut a data set as a loader with this sampler would.

    Raises:
        MisuseError: the order is the sampler's own, so that it cannot be that of (seed, epoch).
    """
    if not isinstance(batch_size, int):
        raise MisuseError(
            "the training's loader has a batch sampler of its own",
            "give it `batch_size` and `shuffle` instead: perdure orders the data itself",
        )
    return loader.Plan(batch_size, _shuffles(sampler, length), drop_last, 1)


def _shuffles(sampler: Sampler, length: int) -> bool:
    name = type(sampler).__name__
    if name == "SequentialSampler":
        return False
    if name in ("RandomSampler", "SeedableRandomSampler") and not _draws(sampler, length):
        return True
    if name == "DistributedSampler":
        return bool(getattr(sampler, "shuffle", True))
    raise MisuseError(
        f"the training's loader has a sampler of its own, `{name}`",
        "give it `shuffle` instead: perdure orders the data itself",
    )


def _draws(sampler: Sampler, length: int) -> bool:
    return bool(getattr(sampler, "replacement", False)) or len(sampler) != length


def adopt(run: Run, given: object) -> loader.Loader:
    """Return a loader of the run over the same data as torch's `given`, made in the same way.

    Raises:
        MisuseError: it is of a kind whose order cannot be taken over.
    """
    torch = libraries.torch()
    if torch is None or not isinstance(given, torch.utils.data.DataLoader):
        raise MisuseError(
            f"the training's data comes from a `{type(given).__name__}`",
            "hand over one torch DataLoader of a data set with items by index",
        )
    if isinstance(given.dataset, torch.utils.data.IterableDataset):
        raise MisuseError(
            "the training's data set has no items by index",
            "turn the stream into a data set with __getitem__ and __len__",
        )
    loader.check_dataset(given.dataset)
    chosen = plan(given.sampler, len(given.dataset), given.batch_size, drop_last=given.drop_last)
    options = {name: getattr(given, name) for name in _HANDED_ON}
    return loader.Loader(run, SOURCE, given.dataset, chosen, options)
