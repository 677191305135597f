"""Work beside the thread that asked for it."""

from __future__ import annotations

import pytest

from perdure.runtime.background import Background


def test_the_result_comes_back() -> None:
    work = Background(lambda: 7)
    work.join()
    assert work.result() == work.result() == 7


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    def fail() -> int:
        raise KeyError("x")

    work = Background(fail)
    work.join()
    with pytest.raises(KeyError):
        work.result()
