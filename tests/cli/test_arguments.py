from __future__ import annotations

import argparse

import pytest

from perdure.cli.arguments import seconds, tolerance, whole_number


@pytest.mark.parametrize(
    ("text", "found"),
    [("30", 30), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("30d", 2592000), ("0", 0)],
)
def test_durations(text: str, found: float) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "inf", "5 m", "5w", "5m\n", "9" * 12])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)


def test_tolerances() -> None:
    assert tolerance("1e-5") == 1e-5
    assert tolerance("0") == 0
    for text in ("-1", "nan", "inf", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            tolerance(text)


def test_whole_numbers() -> None:
    assert whole_number("0") == 0
    assert whole_number(str(2**63 - 1)) == 2**63 - 1
    for text in ("-1", "1.0", "", "x", str(2**63), "1_0", " 1"):
        with pytest.raises(argparse.ArgumentTypeError):
            whole_number(text)
