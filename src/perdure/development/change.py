"""What differs between a container that is there and the one the project would get now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perdure.development.contents import differences
from perdure.development.leftovers import Leftovers
from perdure.development.standing import Standing, State
from perdure.development.wishes import Wishes

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the project would get now: the image's tag, what is in it, and the user's wishes."""

    tag: str
    contents: Mapping[str, str]
    wishes: Wishes


@dataclass(frozen=True, slots=True)
class Change:
    """Why a container is not the one that is wanted: a summary, and what differs a line each."""

    summary: str
    details: tuple[str, ...] = ()


def change_between(standing: Standing, wanted: Wanted) -> Change | None:
    """Return what has changed; None where it is the one wanted, or none is there. Pure."""
    if standing.state is State.ABSENT:
        return None
    if standing.tag != wanted.tag:
        details = differences(standing.contents, wanted.contents)
        return Change("the environment has changed since this container was made", details)
    if standing.wishes != wanted.wishes:
        before, now = standing.wishes.options(), wanted.wishes.options()
        return Change(
            "this container was made with other options",
            (f"then: {' '.join(before) or 'none'}", f"now: {' '.join(now) or 'none'}"),
        )
    return None


def question(standing: Standing, commands: tuple[str, ...], leftovers: Leftovers) -> str:
    """Return what is asked before a container is replaced: it says what would end and be lost."""
    costs = [] if standing.state is State.STOPPED else [ended(commands)]
    if leftovers:
        costs.append(f"what was installed by hand is lost ({leftovers.told()})")
    told = "; ".join(costs)
    return f"{told}: rebuild and restart?" if told else "rebuild and restart?"


def ended(commands: tuple[str, ...]) -> str:
    """Return who would be ended with a container."""
    if not commands:
        return "nothing runs in it"
    listed = ", ".join(f"`{_short(command)}`" for command in commands[:MOST_NAMED])
    more = f" and {len(commands) - MOST_NAMED} more" if len(commands) > MOST_NAMED else ""
    return f"what runs in it ends ({listed}{more})"


def _short(command: str, places: int = 40) -> str:
    return command if len(command) <= places else f"{command[: places - 1]}…"
