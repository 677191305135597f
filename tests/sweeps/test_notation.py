from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import UsageError
from perdure.model.sweep import Span
from perdure.sweeps.notation import new_values, parse_axes, parse_axis, require_listed, written


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-3,1e-4", ["1e-3", "1e-4"]),
        ("0..4", ["0", "1", "2", "3", "4"]),
        ("-2..1", ["-2", "-1", "0", "1"]),
        ("0..100:50", ["0", "50", "100"]),
        ("0..7:3", ["0", "3", "6"]),
        ("0.1..0.5:0.1", ["0.1", "0.2", "0.3", "0.4", "0.5"]),
        ("1e-3..3e-3:1e-3", ["0.001", "0.002", "0.003"]),
        ("1e-5..1e-1:log:5", ["1e-5", "0.0001", "0.001", "0.01", "1e-1"]),
        ("0..1:lin:3", ["0", "0.5", "1"]),
        ("0..2,7,x", ["0", "1", "2", "7", "x"]),
        ('"a,b",c', ["a,b", "c"]),
        ("'a,b'", ["a,b"]),
        ('"he said ""no"""', ['he said "no"']),
        ('"",x', ["", "x"]),
        ('"0..4"', ["0..4"]),
        ("[64,64],[128]", ["[64,64]", "[128]"]),
        ("{a: [1,2]},b", ["{a: [1,2]}", "b"]),
        ("it's,fine", ["it's", "fine"]),
        (" a , b ", ["a", "b"]),
        ("../data,..", ["../data", ".."]),
        ("a=b", ["a=b"]),
    ],
)
def test_values_as_people_write_them(text: str, values: list[str]) -> None:
    assert list(parse_axis("x", text).listed()) == values


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1e-5..1e-1:log", Span(1e-5, 1e-1, log=True)),
        ("0.0..0.9", Span(0.0, 0.9)),
        ("1..8:lin", Span(1, 8, whole=True)),
    ],
)
def test_spans_are_drawn_from_and_make_no_grid(text: str, span: Span) -> None:
    axis = parse_axis("x", text)
    assert axis.values == span
    with pytest.raises(UsageError, match="no end of values") as raised:
        require_listed([axis])
    assert ":5" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr"], "is no axis"),
        (["lr="], "has no values"),
        (["lr=  "], "has no values"),
        (["lr=1,,2"], "an empty value"),
        (["lr=1", "lr=2"], "is there twice"),
        (["lr=1,2,1"], "has `1` twice"),
        (["lr=0..2,1"], "has `1` twice"),
        (["=1"], "cannot name an axis"),
        (["a b=1"], "cannot name an axis"),
        (["-x=1"], "cannot name an axis"),
        (["lr=4..0"], "does not go upwards"),
        (["lr=1.."], "half a range"),
        (["lr=..5"], "half a range"),
        (["lr=1e-5..:log:5"], "half a range"),
        (["lr=0..4:0"], "no step above 0"),
        (["lr=0..4:-1"], "no step above 0"),
        (["lr=0..4:nan"], "no step above 0"),
        (["lr=0..4:many"], "no step above 0"),
        (["lr=0..1:log:5"], "begins above 0"),
        (["lr=1..2:log:1"], "no number of values"),
        (["lr=1..2:log:0x5"], "no number of values"),
        (["lr=0..1e18"], "cannot name|more than|no end|has"),
        (["lr=0..999999999999"], "more than"),
        (["lr=0.0..0.5,1"], "cannot stand in a list"),
        (['lr="a'], "without an end"),
        (['lr="a"b'], "after a quote"),
        (["lr=[1,2"], "lacks a `]`"),
    ],
)
def test_what_makes_no_axis_is_one_clear_error(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_listed(parse_axes(words))


def test_hydra_has_keys_of_its_own() -> None:
    (axis,) = parse_axes(["+optimizer.lr@here=1"], "hydra")
    assert axis.name == "+optimizer.lr@here"
    with pytest.raises(UsageError, match="cannot name an axis"):
        parse_axes(["+optimizer.lr=1"])


def test_new_values_are_those_that_are_not_there() -> None:
    assert new_values(parse_axis("x", "0..9"), parse_axis("x", "0..4")).text == "5,6,7,8,9"
    with pytest.raises(UsageError, match="already"):
        new_values(parse_axis("x", "1,2"), parse_axis("x", "0..4"))


@given(st.lists(st.text(max_size=6), min_size=1, max_size=5, unique=True))
def test_values_of_a_file_stand_for_themselves(values: list[str]) -> None:
    assert list(parse_axis("x", written(values)).listed()) == values


@given(st.text(max_size=24))
def test_any_text_is_an_axis_or_a_clear_error(text: str) -> None:
    try:
        axis = parse_axis("x", text)
    except UsageError as error:
        assert "`x`" in error.message  # noqa: PT017 - either is right
    else:
        assert isinstance(axis.values, Span) or len(axis.values) >= 1


RANGE = st.from_regex(r"-?[0-9]{1,3}(\.[0-9])?\.\.[0-9]{1,3}(e1)?(:(log|lin|[0-9]{1,2}))?(:[0-9])?")


@given(RANGE)
def test_any_range_is_one_or_a_clear_error(text: str) -> None:
    try:
        axis = parse_axis("x", text)
    except UsageError:
        return
    if not isinstance(axis.values, Span):
        listed = list(axis.values)
        assert len(set(listed)) == len(listed)
