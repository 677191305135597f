"""The order of data, as a function of (seed, epoch, index) and of nothing else."""

from __future__ import annotations

import random
from typing import Iterator, List, Sequence

import xxhash

from perdure.runtime import libraries


def key(*parts: object) -> int:
    """Return 64 bits that depend on the parts alone, alike on every machine and version."""
    digest: int = xxhash.xxh3_64(repr(parts).encode()).intdigest()
    return digest


def permutation(length: int, seed: int, epoch: int, source: int) -> Sequence[int]:
    """Return the numbers below `length` in the order of that epoch of that loader."""
    chosen = key(seed, "order", epoch, source)
    torch = libraries.torch()
    if torch is None:
        shuffled = list(range(length))
        random.Random(chosen).shuffle(shuffled)
        return shuffled
    generator = torch.Generator()
    generator.manual_seed(chosen & (2**63 - 1))
    order: Sequence[int] = torch.randperm(length, generator=generator).tolist()
    return order


def share(order: Sequence[int], rank: int, world: int) -> Sequence[int]:
    """Return a rank's part; every rank gets as many, the first ones again where it does not fit."""
    if world == 1:
        return order
    wanted = -(-len(order) // world) * world
    padded = list(order)
    while padded and len(padded) < wanted:
        padded.extend(order[: wanted - len(padded)])
    return padded[rank::world]


class Batches:
    """The batches of one pass, from batch `start` on.

    Each is a list whose first entry is the key for the random numbers drawn while it is loaded, so
    that neither the worker that loads it nor what was loaded before makes a difference.
    """

    def __init__(
        self, order: Sequence[int], size: int, drop_last: bool, keyed: "Sequence[int]"
    ) -> None:
        self.order = order
        self.size = size
        self.keyed = tuple(keyed)
        self.start = 0
        whole, rest = divmod(len(order), size)
        self.count = whole if drop_last or not rest else whole + 1

    def __len__(self) -> int:
        return self.count - self.start

    def __iter__(self) -> Iterator[List[int]]:
        for batch in range(self.start, self.count):
            chosen = self.order[batch * self.size : (batch + 1) * self.size]
            yield [key(*self.keyed, batch), *chosen]
