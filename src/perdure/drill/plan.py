"""Where a drill interrupts: aims drawn from a seed, on steps that the baseline is known to take.

Interruptions at random times of the clock mostly land before the first checkpoint and then prove
nothing; these are aimed at steps, spread over the whole training, and at named points.
"""

from __future__ import annotations

import enum
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field


class Kind(enum.Enum):
    """A kind of interruption, as `--kinds` names it."""

    TERM = "term"
    KILL = "kill"
    FILE = "file"
    MID_SAVE = "mid-save"
    STARTUP = "startup"
    EVAL = "eval"
    DOUBLE = "double"


# In the order in which a save passes them.
SAVE_POINTS = (
    "save-begin",
    "save-staged",
    "save-mid-data",
    "save-state-synced",
    "save-meta",
    "save-renamed",
    "save-durable",
)
# Of ten aims so many are in the middle of an epoch; the others are at its very start.
_MID_EPOCH_OF_TEN = 9


@dataclass(frozen=True, slots=True)
class Course:
    """What an uninterrupted training passes: its steps, its epochs, where it polls and saves."""

    steps: int
    epoch_starts: tuple[int, ...]
    points: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def step_s(self) -> float:
        """Return how long a step takes, roughly."""
        return self.seconds / max(self.steps, 1)

    def is_mid_epoch(self, step: int) -> bool:
        """Return whether this many steps done is neither an epoch's start nor the end."""
        return 0 < step < self.steps and step not in self.epoch_starts


@dataclass(frozen=True, slots=True)
class Action:
    """One order to the probe; see perdure.runtime.probe for what the fields mean."""

    point: str
    do: str
    generation: int
    step: int | None = None
    nth: int = 1
    delay_s: float = 0.0
    after: bool = False

    def order(self) -> dict[str, object]:
        """Return it as the probe reads it."""
        return {
            "point": self.point,
            "do": self.do,
            "generation": self.generation,
            "step": self.step,
            "nth": self.nth,
            "delay_s": round(self.delay_s, 4),
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class Interruption:
    """What ends one attempt: the kind asked for, and the actions that bring it about."""

    kind: Kind
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run of a drill: attempt i is ended by interruption i, the last one runs to the end."""

    name: str
    interruptions: tuple[Interruption, ...] = ()
    drop: tuple[str, ...] = ()
    save_every: int = 0

    def orders(self) -> str:
        """Return the text for PERDURE_DRILL."""
        actions = [action.order() for one in self.interruptions for action in one.actions]
        return json.dumps(
            {
                "trace": True,
                "drop": list(self.drop),
                "save_every": self.save_every,
                "actions": actions,
            }
        )


def save_interval(course: Course) -> int:
    """Return after how many steps a drill saves: about twelve times, seldom at an epoch's end."""
    return max(2, course.steps // 12)


def plan_runs(course: Course, count: int, kinds: Sequence[Kind], seed: int) -> tuple[RunPlan, ...]:
    """Return `count` runs of one to three interruptions each; the same seed plans the same.

    Kinds are dealt in turn, not drawn, so that a short drill has all of them too.
    """
    draw = random.Random(seed)
    possible = possible_kinds(course, kinds)
    sizes = [1 + (number + draw.randrange(2)) % 3 for number in range(count)]
    deck = _deal(possible, sum(sizes), draw)
    every = save_interval(course)
    runs = []
    for number, size in enumerate(sizes):
        hand = _hand([deck.pop() for _ in range(size)])
        interruptions = []
        for part, kind in enumerate(hand):
            step = _aim_at(course, draw, number, (part, len(hand)))
            actions = _ACTIONS[kind](_Aim(course, draw, step, part + 1))
            interruptions.append(Interruption(kind, actions))
        runs.append(RunPlan(f"run-{number + 1:03d}", tuple(interruptions), save_every=every))
    return tuple(runs)


def plan_self_test(course: Course, items: Iterable[str]) -> tuple[RunPlan, ...]:
    """Return one run for each item: stopped once in the middle of an epoch, restored without it."""
    middle = [step for step in range(1, course.steps) if course.is_mid_epoch(step)]
    step = middle[len(middle) * 2 // 5] if middle else max(1, course.steps // 2)
    stop = Interruption(Kind.TERM, (Action("boundary", "term", 1, step=step),))
    every = save_interval(course)
    return tuple(
        RunPlan(f"without-{number + 1:03d}", (stop,), drop=(item,), save_every=every)
        for number, item in enumerate(items)
    )


def possible_kinds(course: Course, kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """Return those of the kinds that this training offers a place for."""
    evaluates = bool(course.points.get("eval"))
    return tuple(kind for kind in kinds if kind is not Kind.EVAL or evaluates)


def _deal(kinds: Sequence[Kind], count: int, draw: random.Random) -> list[Kind]:
    deck = [kinds[number % len(kinds)] for number in range(count)]
    draw.shuffle(deck)
    return deck


def _hand(kinds: Sequence[Kind]) -> list[Kind]:
    """Return them with the starts last: a start is worth interrupting when it has a checkpoint."""
    hand = sorted(kinds, key=lambda kind: kind is Kind.STARTUP)
    return [Kind.TERM, *hand][:3] if hand[0] is Kind.STARTUP else hand


def _aim_at(course: Course, draw: random.Random, number: int, part: tuple[int, int]) -> int:
    """Return a step in this part (i of n) of the training, mostly one in the middle of an epoch."""
    index, parts = part
    low = 1 + (course.steps - 1) * index // parts
    high = max(low, (course.steps - 1) * (index + 1) // parts)
    middle = [step for step in range(low, high + 1) if course.is_mid_epoch(step)]
    edges = [step for step in range(low, high + 1) if not course.is_mid_epoch(step)]
    wanted = middle if number % 10 < _MID_EPOCH_OF_TEN else edges
    return draw.choice(wanted or middle or edges)


@dataclass(frozen=True, slots=True)
class _Aim:
    """One interruption to be made up: in which attempt, from which step on."""

    course: Course
    draw: random.Random
    step: int
    generation: int


def _at_step(do: str) -> Callable[[_Aim], tuple[Action, ...]]:
    def actions(aim: _Aim) -> tuple[Action, ...]:
        if aim.draw.random() < 0.25:
            return (Action("boundary", do, aim.generation, aim.step),)
        # From the moment a batch is handed out until shortly before the next one.
        later_s = aim.draw.uniform(0.0, 0.8 * aim.course.step_s)
        delay_s = aim.draw.choice((0.0, later_s))
        return (Action("fetch", do, aim.generation, aim.step, delay_s=delay_s),)

    return actions


def _mid_save(aim: _Aim) -> tuple[Action, ...]:
    return (Action(aim.draw.choice(SAVE_POINTS), "kill", aim.generation, aim.step),)


def _startup(aim: _Aim) -> tuple[Action, ...]:
    point = aim.draw.choice(("startup", "restored"))
    return (Action(point, aim.draw.choice(("term", "kill")), aim.generation),)


def _eval(aim: _Aim) -> tuple[Action, ...]:
    polled = aim.course.points["eval"]
    step = next((at for at in polled if at >= aim.step), polled[-1])
    do = aim.draw.choice(("term", "kill"))
    nth = aim.draw.randint(1, polled.count(step))
    return (Action("eval", do, aim.generation, step, nth=nth),)


def _double(aim: _Aim) -> tuple[Action, ...]:
    how = aim.draw.choice(("term-term", "term-kill", "inside"))
    if how != "inside":
        return (Action("fetch", how, aim.generation, aim.step),)
    inside = aim.draw.choice(SAVE_POINTS[:-1])
    return (
        Action("fetch", "term", aim.generation, aim.step),
        Action(inside, "kill", aim.generation, after=True),
    )


_ACTIONS: Mapping[Kind, Callable[[_Aim], tuple[Action, ...]]] = {
    Kind.TERM: _at_step("term"),
    Kind.KILL: _at_step("kill"),
    Kind.FILE: _at_step("file"),
    Kind.MID_SAVE: _mid_save,
    Kind.STARTUP: _startup,
    Kind.EVAL: _eval,
    Kind.DOUBLE: _double,
}
