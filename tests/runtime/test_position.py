"""Where a run is, and how the body of an epoch is replayed up to there."""

from __future__ import annotations

from perdure.runtime.position import POLL, Position


class Settled:
    """Counts how often the snapshot was put back."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def resumed(position: Position) -> tuple[Position, Settled]:
    settled = Settled()
    again = Position(settled)
    again.restore(position.snapshot())
    return again, settled


def test_a_loader_goes_on_from_the_batch_after_the_last() -> None:
    position = Position(Settled())
    position.begin_epoch(3)
    assert position.enter("train") == 0
    assert position.advance("train") == 1
    assert position.advance("train") == 2
    again, settled = resumed(position)
    assert (again.epoch, again.replaying, settled.times) == (3, True, 0)
    assert again.enter("train") == 2
    assert (again.replaying, settled.times) == (False, 1)


def test_a_finished_loader_is_empty_and_finished_validation_is_done_again() -> None:
    position = Position(Settled())
    for source in ("train", POLL):
        position.enter(source)
        position.leave(source)
    position.enter("second")
    position.advance("second")
    again, settled = resumed(position)
    assert again.enter("train") is None
    assert again.enter(POLL) == 0
    again.leave(POLL)
    assert settled.times == 0
    assert again.enter("second") == 1
    assert settled.times == 1
    assert again.passes == {"train": 1, POLL: 1}


def test_a_second_pass_of_the_same_loader_is_told_from_the_first() -> None:
    position = Position(Settled())
    position.enter("train")
    position.leave("train")
    position.enter("train")
    position.advance("train")
    again, settled = resumed(position)
    assert again.enter("train") is None
    assert again.enter("train") == 1
    assert settled.times == 1


def test_two_loaders_side_by_side_go_on_together() -> None:
    position = Position(Settled())
    position.enter("a")
    position.enter("b")
    assert position.outermost("a")
    assert not position.outermost("b")
    position.advance("a")
    position.advance("b")
    again, _ = resumed(position)
    assert again.enter("a") == 1
    assert again.enter("b") == 1


def test_a_loader_inside_another_keeps_count_of_its_passes() -> None:
    position = Position(Settled())
    position.enter("outer")
    for _ in range(2):
        position.enter("inner")
        position.leave("inner")
    position.advance("outer")
    again, _ = resumed(position)
    assert again.enter("outer") == 1
    assert again.enter("inner") == 0
    again.leave("inner")
    assert again.passes["inner"] == 3


def test_a_body_that_is_another_one_settles_where_it_differs() -> None:
    position = Position(Settled())
    position.enter("train")
    position.advance("train")
    again, settled = resumed(position)
    assert again.enter("other") == 0
    assert (again.replaying, settled.times) == (False, 1)


def test_between_epochs_there_is_nothing_to_replay() -> None:
    position = Position(Settled())
    position.enter("train")
    position.leave("train")
    position.begin_epoch(1)
    again, _ = resumed(position)
    assert not again.replaying
    assert again.epoch == 1


def test_leaving_twice_counts_once() -> None:
    position = Position(Settled())
    position.enter("train")
    position.leave("train")
    position.leave("train")
    assert position.passes == {"train": 1}
