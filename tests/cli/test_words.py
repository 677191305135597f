from __future__ import annotations

import pytest

from perdure.cli.words import counted, duration, printable, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (65, "1 min 5 s"),
        (3600, "1 h"),
        (7860, "2 h 11 min"),
        (90000, "1 d 1 h"),
        (10**7, "115 d 17 h"),
    ],
)
def test_duration_takes_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (2**30, "1.0 GiB"),
        (2**52, "4096.0 TiB"),
    ],
)
def test_size_takes_the_unit_that_fits(count: int, text: str) -> None:
    assert size(count) == text


def test_counted_knows_the_plural() -> None:
    assert [counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]


def test_printable_lets_no_text_write_to_a_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\x00d") == r"a\x1b[2Jb\nc\x00d"
    assert printable("naïve 猫 $(x) `y`") == "naïve 猫 $(x) `y`"
    assert printable("\udcff") == r"\udcff"
