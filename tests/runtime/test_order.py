"""The order of data is a function of (seed, epoch, index)."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime import order


def test_keys_are_the_same_on_every_machine() -> None:
    assert order.key(1, "order", 2, 3) == 9870962322610129166
    assert order.key(1, 2) != order.key(2, 1)


@given(st.integers(0, 50), st.integers(0, 2**40), st.integers(0, 5))
def test_an_order_has_every_index_once_and_is_always_the_same(
    length: int, seed: int, epoch: int
) -> None:
    first = order.permutation(length, seed, epoch, 1)
    assert sorted(first) == list(range(length))
    assert list(first) == list(order.permutation(length, seed, epoch, 1))


def test_epochs_seeds_and_loaders_have_orders_of_their_own() -> None:
    orders = {
        tuple(order.permutation(30, seed, epoch, source))
        for seed in (1, 2)
        for epoch in (0, 1)
        for source in (1, 2)
    }
    assert len(orders) == 8


def test_without_torch_there_is_an_order_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    assert sorted(order.permutation(9, 1, 0, 1)) == list(range(9))
    assert order.permutation(9, 1, 0, 1) == order.permutation(9, 1, 0, 1)


@given(st.integers(0, 30), st.integers(1, 5))
def test_ranks_share_alike_and_leave_nothing_out(length: int, world: int) -> None:
    shares = [list(order.share(list(range(length)), rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert {index for share in shares for index in share} == set(range(length))


@given(st.integers(0, 30), st.integers(1, 7), st.booleans(), st.data())
def test_batches_from_the_middle_are_those_of_the_whole(
    length: int, size: int, drop_last: bool, data: st.DataObject
) -> None:
    whole = order.Batches(range(length), size, drop_last, (1, 2))
    start = data.draw(st.integers(0, whole.count))
    rest = order.Batches(range(length), size, drop_last, (1, 2))
    rest.start = start
    assert list(rest) == list(whole)[start:]
    assert len(rest) == whole.count - start
    used = [index for batch in whole for index in batch[1:]]
    assert used == list(range(length))[: len(used)]
    assert length - len(used) < size
    assert drop_last or len(used) == length
