from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.model.sweep import (
    Axis,
    Grid,
    Span,
    Steps,
    arguments_of,
    combinations,
    doubt,
    drawn,
    job_name,
    trial_number,
)


def axis(name: str, *values: str) -> Axis:
    return Axis(name, values, ",".join(values))


def test_the_last_axis_changes_fastest() -> None:
    grid = Grid(((axis("lr", "a", "b"), axis("seed", "0", "1", "2")),))
    assert grid.count == 6
    assert [tuple(each.values()) for each in combinations(grid)][:4] == [
        ("a", "0"),
        ("a", "1"),
        ("a", "2"),
        ("b", "0"),
    ]
    with pytest.raises(IndexError):
        grid.at(6)


def test_ten_million_combinations_are_counted_and_not_held() -> None:
    grid = Grid(((Axis("a", Steps(Decimal(0), Decimal(1), 10_000), ""),) * 2,))
    assert grid.count == 10**8
    assert dict(grid.at(10**8 - 1)) == {"a": "9999"}


SIZES = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@given(sizes=SIZES, more=st.data())
def test_an_extended_grid_is_the_larger_one_and_what_was_there_keeps_its_place(
    sizes: list[int], more: st.DataObject
) -> None:
    names = "abc"[: len(sizes)]
    box = [axis(n, *(f"{n}{i}" for i in range(size))) for n, size in zip(names, sizes, strict=True)]
    before = Grid((tuple(box),))
    chosen = more.draw(st.sets(st.sampled_from(names), min_size=1))
    extra = {n: axis(n, *(f"{n}+{i}" for i in range(more.draw(st.integers(1, 2))))) for n in chosen}
    after = before.extended(extra)
    found = [tuple(each.items()) for each in combinations(after)]
    assert found[: before.count] == [tuple(each.items()) for each in combinations(before)]
    assert len(set(found)) == len(found) == after.count
    assert after.count == Grid((after.axes,)).count


def test_a_draw_can_be_repeated() -> None:
    axes = (Axis("lr", Span(1e-5, 1e-1, log=True), ""), axis("b", "16", "32"))
    first = [drawn(axes, 7, index) for index in range(50)]
    assert first == [drawn(axes, 7, index) for index in range(50)]
    assert first != [drawn(axes, 8, index) for index in range(50)]
    assert all(1e-5 <= float(each["lr"]) <= 1e-1 for each in first)
    # Evenly in the logarithm: a decade gets about its share.
    assert 3 <= sum(float(each["lr"]) < 1e-4 for each in first) <= 25


@pytest.mark.parametrize(
    ("style", "values", "words"),
    [
        ("flags", {"lr": "1e-3", "seed": "1"}, ("--lr", "1e-3")),
        ("flags", {"shift": "-1"}, ("--shift=-1",)),
        ("hydra", {"lr": "1e-3", "+a.b": "x y"}, ("lr=1e-3", "+a.b=x y")),
    ],
)
def test_values_become_arguments(style: str, values: dict[str, str], words: object) -> None:
    assert arguments_of(values, style) == words  # type: ignore[arg-type]


def test_a_seed_is_an_argument_where_the_task_takes_it_as_one() -> None:
    assert arguments_of({"seed": "3"}, "flags", seed_argument=True) == ("--seed", "3")


@pytest.mark.parametrize(
    ("job", "number"),
    [
        ("a-b-0001", 1),
        ("a-b-12345", 12345),
        ("a-b-01", None),
        ("a-b-0000", None),
        ("a-0001", None),
        ("a-b-", None),
        ("a-b-\u0660\u0660\u0660\u0661", None),
    ],
)
def test_a_trials_job_tells_its_number(job: str, number: int | None) -> None:
    assert trial_number("a-b", job) == number
    if number is not None:
        assert job_name("a-b", number) == job


def test_steps_are_a_sequence_of_words() -> None:
    steps = Steps(Decimal(0), Decimal("0.5"), 4)
    assert list(steps) == ["0.0", "0.5", "1.0", "1.5"]
    assert steps[1:3] == ["0.5", "1.0"]
    assert steps[-1] == "1.5"
    with pytest.raises(IndexError):
        steps[4]
    same = Steps(Decimal(0), Decimal("0.5"), 4)
    assert (steps, hash(steps)) == (same, hash(same))
    assert steps != Steps(Decimal(0), Decimal("0.5"), 3)
    assert steps != list(steps)


def test_a_span_has_no_list_and_is_drawn_from() -> None:
    span = Axis("lr", Span(0.25, 0.5), "0.25..0.5")
    with pytest.raises(ValueError, match="`lr` is a span"):
        span.listed()
    values = {float(drawn([span], 0, index)["lr"]) for index in range(50)}
    assert len(values) > 40
    assert all(0.25 <= value <= 0.5 for value in values)


def test_what_a_task_may_not_know_is_asked_for() -> None:
    assert doubt("train", ("lr", "seed"), "flags") == "does `train` take `--lr`?"
    assert doubt("train", ("lr", "seed"), "hydra", seed_argument=True) == (
        "does `train` take `lr=`, `seed=`?"
    )
    assert doubt("train", ("seed",), "flags") == ""
