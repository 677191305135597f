from __future__ import annotations

import random
import re
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import UsageError
from perdure.model.sweep import Span
from perdure.sweeps.notation import (
    new_values,
    parse_axes,
    parse_axis,
    require_listed,
    require_seeds,
    written,
)


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
        ("1000001..1000003:lin:3", ["1000001", "1000002", "1000003"]),
        ("0..1e9:lin:5", ["0", "250000000", "500000000", "750000000", "1000000000"]),
        ("0..4e20:lin:2", ["0", "400000000000000000000"]),
        ("0.0..2e0:lin:3", ["0.0", "1", "2"]),
        ("0..1e300:lin:2", ["0", "1e300"]),
        ("0..10:lin:5", ["0", "2.5", "5", "7.5", "10"]),
        ("1..2:lin:4", ["1", "1.33333", "1.66667", "2"]),
        ("-0.3..0.3:lin:3", ["-0.3", "0", "0.3"]),
        ("0.12345678..0.1234568:lin:3", ["0.12345678", "0.12345679", "0.1234568"]),
        ("1e-30..3e-30:lin:3", ["1e-30", "2e-30", "3e-30"]),
        ("1..1e9:log:4", ["1", "1000", "1000000", "1000000000"]),
        ("1e-6..1e-2:log:5", ["1e-6", "1e-05", "0.0001", "0.001", "1e-2"]),
        ("1000001..1000003:log:3", ["1000001", "1000002", "1000003"]),
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
        ("9007199254740993..9007199254740995:lin", Span(2**53 + 1, 2**53 + 3, whole=True)),
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
        (["lr=5..5"], "does not go upwards"),
        (["lr=0..4:1:"], "no step above 0"),
        (["lr=0..4:1e-9999999"], "no step above 0"),
        (["lr=1e-999..1e-1:log:5"], "more than a program can count with"),
        (["lr=1..1e999:log:5"], "more than a program can count with"),
        (["lr=0.0..1e999"], "more than a program can count with"),
        (["lr=-1e308..1e308:lin"], "more than a program can count with"),
        (["lr=1.00000000000000000000000000001..2:lin:3"], "more than a program can count with"),
        (["lr=0.10000000000000000001..0.10000000000000000002"], "there is no number"),
        (["lr=0..1:log:5"], "begins above 0"),
        (["lr=1..2:log:1"], "no number of values"),
        (["lr=1..2:log:0x5"], "no number of values"),
        (["lr=0..1e18"], "cannot name|more than|no end|has"),
        (["lr=0..999999999999"], "more than"),
        (["lr=0.0..0.5,1"], "cannot stand in a list"),
        (['lr="a'], "without an end"),
        (['lr="a"b'], "after a quote"),
        (["lr=[1,2"], "lacks a `]`"),
        (["lr=a,\0"], "is no text"),
        (["lr='\udcff'"], "is no text"),
    ],
)
def test_what_makes_no_axis_is_one_clear_error(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_listed(parse_axes(words))


@pytest.mark.parametrize(
    ("text", "hint"),
    [("5..5", "x=5"), ("5..4", "x=4..5"), ("-5..-1:log", "x=1e-5..1e-1:log:5")],
)
def test_a_hint_is_an_axis(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_axis("x", text)
    assert raised.value.hint == hint
    assert parse_axis("x", hint.removeprefix("x=")).listed()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("0..4", None),
        ("0..40:10", None),
        ("7,007", None),
        ("0..9:lin", None),
        ("0..9:lin:4", None),
        ("0..2:0.5", "0.0"),
        ("0..2:1.0", "0.0"),
        ("-2..2", "-2"),
        ("-1,0", "-1"),
        ("1e16..3e16:1e16", "1E+16"),
        ("0..1:lin:3", "0.5"),
        ("-1..4:lin", "-1..4:lin"),
        ("0.0..1.0", "0.0..1.0"),
        ("1..9:log", "1..9:log"),
        ("0..99999999999999999999:lin", "0..99999999999999999999:lin"),
        ("99999999999999999998..99999999999999999999", "99999999999999999998"),
    ],
)
def test_seeds_are_whole_numbers_from_0_on(text: str, wrong: str | None) -> None:
    axis = parse_axis("seed", text)
    if wrong is None:
        require_seeds(axis)
    else:
        with pytest.raises(UsageError, match=f"has `{re.escape(wrong)}`, which is no seed"):
            require_seeds(axis)


def test_hydra_has_keys_of_its_own() -> None:
    (axis,) = parse_axes(["+optimizer.lr@here=1"], "hydra")
    assert axis.name == "+optimizer.lr@here"
    with pytest.raises(UsageError, match="cannot name an axis"):
        parse_axes(["+optimizer.lr=1"])


def test_new_values_are_those_that_are_not_there() -> None:
    assert new_values(parse_axis("x", "0..9"), parse_axis("x", "0..4")).text == "5,6,7,8,9"
    with pytest.raises(UsageError, match="already"):
        new_values(parse_axis("x", "1,2"), parse_axis("x", "0..4"))
    with pytest.raises(UsageError, match="no end of values"):
        new_values(parse_axis("x", "0.1..0.2"), parse_axis("x", "0..4"))


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@given(st.lists(TEXT, min_size=1, max_size=5, unique=True))
def test_values_of_a_file_stand_for_themselves(values: list[str]) -> None:
    assert list(parse_axis("x", written(values)).listed()) == values


@given(st.text(st.characters(), max_size=24))
def test_any_text_is_an_axis_or_a_clear_error(text: str) -> None:
    try:
        axis = parse_axis("x", text)
    except UsageError as error:
        assert "`x`" in error.message  # noqa: PT017 - either is right
    else:
        assert isinstance(axis.values, Span) or len(axis.values) >= 1


AXIS = st.text("0123456789.eE+-:,login\"'[]() ", max_size=30)
END = st.from_regex(r"\A-?[0-9]{1,9}(\.[0-9]{1,9})?(e-?[0-9]{1,3})?\Z")
HOW = st.from_regex(r"\A(:(log|lin|[0-9]{1,2}|[0-9]e-?[0-9]{1,7})?(:[0-9]{1,3})?)?\Z")


@given(AXIS | st.builds("{}..{}{}".format, END, END, HOW))
def test_any_range_is_one_or_a_clear_error(text: str) -> None:
    try:
        axis = parse_axis("x", text)
    except UsageError:
        return
    if isinstance(axis.values, Span):
        low, high = float(axis.values.low), float(axis.values.high)
        drawn = [float(axis.values.draw(random.Random(seed))) for seed in range(3)]
        assert all(low <= value <= high for value in drawn)
    elif len(axis.values) < 10_000:
        assert len(set(axis.values)) == len(axis.values)


@given(
    st.decimals(-(10**12), 10**12, places=3),
    st.decimals("1e-6", 10**12, places=6),
    st.integers(2, 30),
    st.sampled_from(["lin", "log"]),
)
def test_spaced_values_go_up_from_end_to_end(
    low: Decimal, width: Decimal, count: int, kind: str
) -> None:
    low = abs(low) + 1 if kind == "log" else low
    high = low + width
    found = [Decimal(text) for text in parse_axis("x", f"{low}..{high}:{kind}:{count}").listed()]
    assert (found[0], found[-1], len(found)) == (low, high, count)
    assert all(before < after for before, after in pairwise(found))
    gap = width / (count - 1)
    if kind == "lin":
        assert all(abs(value - low - gap * i) < gap / 100 for i, value in enumerate(found))
    if kind == "lin" and low % 1 == gap % 1 == 0:
        whole = f"{int(low)}..{int(high)}:lin:{count}"
        assert all(text.lstrip("-").isdigit() for text in parse_axis("x", whole).listed())
