"""A connection that ends between what was sent and the answer to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sync.pair import Pair
from tests.waiting import until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    (made.here / "a").write_text("1")
    made.settle()
    yield made
    made.close()


def send_unanswered(pair: Pair, name: str) -> None:
    """Have a file arrive there, and the connection end before its answer is read."""
    (pair.here / name).write_text("sent")
    pair.exchange.rescan()
    pair.exchange.go_on()
    until((pair.there / name).exists)
    pair.disconnect(killed=True)


@pytest.mark.parametrize("dies", [False, True], ids=["same process", "another process"])
def test_what_came_there_unanswered_goes_with_its_deletion_here(pair: Pair, dies: bool) -> None:
    send_unanswered(pair, "b")
    (pair.here / "b").unlink()
    if dies:
        pair.die()
    pair.settle()
    assert not (pair.there / "b").exists()
    assert not (pair.there / ".perdure" / "conflicts").exists()
    assert pair.trees.state.unanswered() == []


def test_what_somebody_made_of_it_there_meanwhile_stays(pair: Pair) -> None:
    send_unanswered(pair, "b")
    (pair.here / "b").unlink()
    (pair.there / "b").write_text("somebody's")
    pair.settle()
    assert (pair.there / "b").read_text() == "somebody's"
    assert "b" not in pair.trees.state.base


def test_what_never_came_there_is_forgotten(pair: Pair) -> None:
    pair.trees.state.sending([("b", "0" * 32)])
    pair.die()
    pair.settle()
    assert pair.trees.state.unanswered() == []
