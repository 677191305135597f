"""The training's data, in an order that no worker, prefetch or interruption changes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Protocol

from perdure.runtime import libraries, notice, order, rng
from perdure.runtime.faults import MisuseError

if TYPE_CHECKING:
    from perdure.runtime.run import Run


class Dataset(Protocol):
    """A map-style data set: a length, and items by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> object: ...


class Keyed:
    """A data set whose batches are loaded under random numbers of their own."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, batch: List[int]) -> List[object]:
        rng.reseed(batch[0])
        together: Optional[Callable[[List[int]], List[object]]]
        together = getattr(self.dataset, "__getitems__", None)
        if together is not None:
            return list(together(batch[1:]))
        return [self.dataset[index] for index in batch[1:]]

    def __getitem__(self, index: int) -> object:
        return self.dataset[index]


class Loader:
    """Batches of a data set; made by `Run.loader`. `len()` is the number of batches a pass."""

    def __init__(
        self,
        run: "Run",
        source: str,
        dataset: Dataset,
        batches: "Plan",
        options: Dict[str, object],
    ) -> None:
        self._run = run
        self._source = source
        self._dataset = Keyed(dataset)
        self._plan = batches
        self._options = options
        self._torch_loader: Optional[object] = None
        self._batches = batches.of(run, source, len(dataset), 0)
        self.window_done = False

    def __len__(self) -> int:
        return self._batches.count

    # Any: what a batch is, only the training's data set and collate function know.
    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of this pass from where the run is, passing a boundary after each."""
        count = self._batches.count

        def note(used: int) -> None:
            self.window_done = used % self._plan.accumulate == 0 or used == count

        return self._run.walk(self._source, self.begin, self._plan.accumulate, note)

    def begin(self, start: int) -> "tuple[Iterator[object], int]":
        """Return the batches of the pass that begins now, from `start` on, and their number."""
        self._batches = self._plan.of(self._run, self._source, len(self._dataset), start)
        count = self._batches.count
        if libraries.torch() is None:
            return self._plain(), count
        return self._through_torch(), count

    def _plain(self) -> Iterator[object]:
        collate = self._options.get("collate_fn")
        for batch in self._batches:
            kept = rng.capture()
            items: object = self._dataset.__getitems__(batch)
            rng.restore(kept, lambda name: True)
            yield collate(items) if callable(collate) else items

    def _through_torch(self) -> Iterator[object]:
        torch = libraries.torch()
        assert torch is not None
        options = dict(self._options)
        workers = int(str(options.get("num_workers", 0)))
        if workers:
            then = options.pop("worker_init_fn", None)
            options["worker_init_fn"] = functools.partial(notice.ignore_in_worker, then)
        # A generator of its own: else iter() draws from the training's.
        generator = torch.Generator()
        loader = torch.utils.data.DataLoader(
            self._dataset, batch_sampler=self._batches, generator=generator, **options
        )
        iterator = iter(loader)
        if workers:
            yield from iterator
            return
        while True:
            kept = rng.capture()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                rng.restore(kept, lambda name: True)
            yield batch


class Plan:
    """How a loader cuts its data set into batches."""

    def __init__(self, batch_size: int, shuffle: bool, drop_last: bool, accumulate: int) -> None:
        if batch_size < 1 or accumulate < 1:
            raise MisuseError(
                f"batch_size={batch_size}, accumulate={accumulate}: both are at least 1"
            )
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.accumulate = accumulate

    def of(self, run: "Run", source: str, length: int, start: int) -> order.Batches:
        """Return the batches of the pass that begins now, from batch `start` on."""
        number = run.passes(source)
        epoch, ordinal = run.epoch, order.key(source, number)
        whole = (
            order.permutation(length, run.seed, epoch, ordinal)
            if self.shuffle
            else list(range(length))
        )
        mine = order.share(whole, run.rank, run.world)
        keyed = (run.seed, epoch, ordinal, run.rank)
        batches = order.Batches(mine, self.batch_size, self.drop_last, keyed)
        batches.start = start
        return batches


def check_dataset(dataset: object) -> None:
    """Refuse a data set that has no items by index.

    Raises:
        MisuseError: it is iterable only, or has no length.
    """
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise MisuseError(
            f"run.loader() needs a data set with items by index, not `{type(dataset).__name__}`",
            "iterate over `run.steps(n)` and track a cursor of the stream yourself",
        )
