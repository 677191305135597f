"""All ranks act at one boundary, or say that one of them is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from perdure.runtime.faults import GroupError
from perdure.runtime.group import Group
from perdure.runtime.ranks import SAVE, STOP
from tests.runtime.group_of_threads import WORLD, Ranks


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    made = Ranks()
    yield made
    made.close()


@pytest.mark.parametrize("asked", [(0, SAVE), (0, STOP), (2, STOP)])
def test_all_act_at_one_boundary(ranks: Ranks, asked: tuple[int, str]) -> None:
    who, what = asked

    def train(one: Group) -> list[tuple[int, str]]:
        acted: list[tuple[int, str]] = []
        step = 0
        while not acted:
            step += 1
            agreed = one.agree(step, what if one.rank == who and step >= 5 else None)
            if agreed is not None:
                acted.append((step, agreed))
        one.finish()
        return acted

    first, *others = ranks.each(train)
    assert isinstance(first, list)
    assert first[0][1] == what
    assert others == [first] * (WORLD - 1)


def test_a_stop_outweighs_a_save_and_only_the_first_rank_asks_for_saves(ranks: Ranks) -> None:
    wanted = {0: SAVE, 1: STOP, 2: SAVE}

    def train(one: Group) -> list[str]:
        acted: list[str] = []
        step = 0
        while STOP not in acted:
            step += 1
            agreed = one.agree(step, wanted[one.rank])
            acted += [agreed] if agreed else []
        one.finish()
        return acted

    first, *others = ranks.each(train)
    assert others == [first] * (WORLD - 1)
    assert isinstance(first, list)
    assert len(first) <= 3


def test_a_request_after_the_last_boundary_lets_all_run_to_the_end(ranks: Ranks) -> None:
    done = threading.Event()

    def train(one: Group) -> list[str]:
        acted = []
        for step in range(1, 200):
            if one.rank == 0 and step > 3:
                one.finish()
                done.set()
                break
            if one.rank:
                done.wait(60)
            agreed = one.agree(step, STOP if one.rank == 1 else None)
            acted += [agreed] if agreed else []
        return acted

    assert ranks.each(train) == [[], [], []]


def test_a_rank_that_does_not_answer_is_an_error_not_a_hang() -> None:
    made = Ranks(limit_s=0.2)
    made.groups[2]._agreement.close()
    for one in made.groups:
        one._agreement._limit_s = 0.4

    def train(one: Group) -> object:
        return [one.agree(step, STOP if one.rank == 0 else None) for step in range(10_000_000)]

    dead = made.groups.pop()
    found: list[object] = []
    for one in made.groups:
        with pytest.raises(GroupError) as caught:
            train(one)
        found.append(caught.value)
    assert any("did not a" in str(error) for error in found)
    made.groups.append(dead)
    made.close()


def test_a_rank_that_waits_longer_than_any_answer_takes() -> None:
    made = Ranks(limit_s=1.0)
    made.groups[2]._agreement.close()
    waiting = made.groups[1]._agreement
    waiting._limit_s = 0.2
    with pytest.raises(GroupError, match="did not agree on a step"):
        [waiting.agree(1, STOP) for _ in range(10_000_000)]
    made.close()
