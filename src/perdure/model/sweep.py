"""A sweep: axes, the trials that they make, and how a trial's values become arguments. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Literal, overload

Style = Literal["flags", "hydra"]
Kind = Literal["grid", "random", "optuna"]
Direction = Literal["minimize", "maximize"]
# The axis that is the job's own seed too.
SEED = "seed"
#: So that jobs of a sweep sort by their numbers, up to here.
JOB_DIGITS = 4
# What a drawn number has at least, and what tells each of Python's floats from all others.
_DRAWN_DIGITS, _MOST_DIGITS = 6, 17
#: Numbers as they are written are counted with, not what is near them.
EXACT = Context(prec=80)


class Steps(Sequence[str]):
    """The values `low`, `low + step`, ...: `count` of them, none of which is held."""

    __slots__ = ("_count", "_low", "_step")

    def __init__(self, low: Decimal, step: Decimal, count: int) -> None:
        self._low, self._step, self._count = low, step, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return plain(EXACT.add(self._low, EXACT.multiply(self._step, index % self._count)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Steps):
            return NotImplemented
        mine, theirs = (self._low, self._step), (other._low, other._step)
        return mine == theirs and len(self) == len(other)

    def __hash__(self) -> int:
        return hash((self._low, self._step, self._count))


@dataclass(frozen=True, slots=True)
class Span:
    """All numbers from `low` to `high`, to be drawn from: evenly, or evenly in their logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, chance: random.Random) -> str:
        """Return a number of it."""
        if self.whole:
            return str(chance.randint(int(self.low), int(self.high)))
        if self.log:
            drawn = math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = chance.uniform(self.low, self.high)
        return self.text(drawn)

    def text(self, value: float) -> str:
        """Return a number of it in digits that tell a thousand apart, and that do not leave it."""
        inside = min(max(value, self.low), self.high)
        narrow = max(abs(self.low), abs(self.high)) / (self.high - self.low)
        least = max(_DRAWN_DIGITS, math.floor(math.log10(narrow)) + 4)
        tried = (f"{inside:.{digits}g}" for digits in range(least, _MOST_DIGITS))
        fitting = (text for text in tried if self.low <= float(text) <= self.high)
        return next(fitting, f"{inside:.{_MOST_DIGITS}g}")


@dataclass(frozen=True, slots=True)
class Axis:
    """A name and its values: each of them, or a span to be drawn from. `text`: as it was typed."""

    name: str
    values: Sequence[str] | Span
    text: str

    def listed(self) -> Sequence[str]:
        """Return the values, which a span has none of.

        Raises:
            ValueError: it is a span.
        """
        if isinstance(self.values, Span):
            raise ValueError(f"`{self.name}` is a span")
        return self.values


@dataclass(frozen=True, slots=True)
class Grid:
    """All combinations of values: of each box, which is a list of axes, one box after the other.

    Of an axis the last one changes fastest. No combination is held; the boxes have none in common.
    """

    boxes: tuple[tuple[Axis, ...], ...]

    @property
    def count(self) -> int:
        """Return how many combinations there are."""
        return sum(map(_volume, self.boxes))

    def at(self, index: int) -> Mapping[str, str]:
        """Return the values of a combination, counted from 0.

        Raises:
            IndexError: there are not so many.
        """
        left = index
        for box in self.boxes:
            volume = _volume(box)
            if 0 <= left < volume:
                return _combination(box, left)
            left -= volume
        raise IndexError(index)

    def extended(self, more: Mapping[str, Axis]) -> Grid:
        """Return this grid with more values on some of its axes; what is there keeps its place.

        `more` has only values that the axis does not have yet.
        """
        before = self.axes
        boxes = list(self.boxes)
        for place, axis in enumerate(before):
            if axis.name not in more:
                continue
            # Those to the left have all their values by now, those to the right the old ones.
            left = [_joined(each, more.get(each.name)) for each in before[:place]]
            boxes.append((*left, more[axis.name], *before[place + 1 :]))
        return Grid(tuple(boxes))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Return each axis with all its values."""
        found = {axis.name: axis for axis in self.boxes[0]}
        for box in self.boxes[1:]:
            for axis in box:
                known = set(found[axis.name].listed())
                if any(value not in known for value in axis.listed()):
                    found[axis.name] = _joined(found[axis.name], axis)
        return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Search:
    """How trials are chosen: all of a grid, `trials` at random, or as Optuna proposes them.

    `metric` is one of `run.log()`; None: the first that was logged. `seed` is the search's own.
    """

    kind: Kind = "grid"
    trials: int | None = None
    seed: int = 0
    metric: str | None = None
    direction: Direction | None = None
    sampler: str = "tpe"
    pruner: str = "none"
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


def drawn(axes: Sequence[Axis], seed: int, index: int) -> Mapping[str, str]:
    """Return the values of a random trial: the same for the same seed and index, on any machine."""
    # A string, so that nothing but Python's documented hashing of it decides.
    chance = random.Random(f"{seed}/{index}")
    return {
        axis.name: axis.values.draw(chance)
        if isinstance(axis.values, Span)
        else axis.values[chance.randrange(len(axis.values))]
        for axis in axes
    }


def arguments_of(
    values: Mapping[str, str], style: Style, *, seed_argument: bool = False
) -> tuple[str, ...]:
    """Return the words that a task gets for a trial: `--lr 1e-3`, or `lr=1e-3` for Hydra.

    The axis `seed` is the job's seed; it is an argument only where the task takes it as one.
    """
    words: list[str] = []
    for name, value in values.items():
        if name == SEED and not seed_argument:
            continue
        if style == "hydra":
            words.append(f"{name}={value}")
        elif value.startswith("-"):
            # Or it would be taken for an option.
            words.append(f"--{name}={value}")
        else:
            words += [f"--{name}", value]
    return tuple(words)


def doubt(task: str, axes: Iterable[str], style: Style, *, seed_argument: bool = False) -> str:
    """Return the question of whether a task takes what its axes become, "" where they are none."""
    named = [name for name in axes if name != SEED or seed_argument]
    words = [f"`{name}=`" if style == "hydra" else f"`--{name}`" for name in named]
    return f"does `{task}` take {', '.join(words)}?" if words else ""


def job_name(sweep: str, trial: int) -> str:
    """Return the name of a trial's job; trials are counted from 1."""
    return f"{sweep}-{trial:0{JOB_DIGITS}d}"


def trial_number(sweep: str, job: str) -> int | None:
    """Return which trial of a sweep a job of that name is, None where it is none."""
    head, dash, tail = job.rpartition("-")
    if head != sweep or not dash or not (tail.isascii() and tail.isdigit()):
        return None
    trial = int(tail)
    return trial if trial and job_name(sweep, trial) == job else None


def plain(value: Decimal) -> str:
    """Return a number without an exponent where that is short."""
    return format(value, "f") if -8 <= value.adjusted() <= 15 else str(value)


def _volume(box: Sequence[Axis]) -> int:
    return math.prod(len(axis.listed()) for axis in box)


def _combination(box: Sequence[Axis], index: int) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for axis in reversed(box):
        values = axis.listed()
        index, place = divmod(index, len(values))
        found[axis.name] = values[place]
    return {axis.name: found[axis.name] for axis in box}


def _joined(axis: Axis, more: Axis | None) -> Axis:
    if more is None:
        return axis
    values = (*axis.listed(), *more.listed())
    return Axis(axis.name, values, f"{axis.text},{more.text}")


def combinations(grid: Grid) -> Iterator[Mapping[str, str]]:
    """Yield the combinations of a grid in order."""
    return (grid.at(index) for index in range(grid.count))
