from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.model.duration import clock_words, seconds_in


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("90s", 90.0),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("30d", 2592000.0),
        ("00:01:00", 60.0),
        ("2-12:00:00", 216000.0),
        ("1:2", None),
        ("-1", None),
        ("infinite", None),
        ("\u0663", None),
        ("", None),
    ],
)
def test_durations_are_read(text: str, seconds: float | None) -> None:
    assert seconds_in(text) == seconds


@given(st.integers(0, 99999 * 86400))
def test_slurms_words_say_the_same(seconds: int) -> None:
    assert seconds_in(clock_words(seconds)) == seconds
