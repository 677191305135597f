from __future__ import annotations

import math

from perdure.services.side.curves import scalars, step_of


def test_numbers_are_curves_and_words_are_not() -> None:
    row = {"step": 3, "epoch": 1, "loss": 0.5, "ok": True, "phase": "train", "norm": 2, "no": None}
    assert dict(scalars(row)) == {"loss": 0.5, "ok": 1.0, "norm": 2.0}


def test_what_is_no_number_any_more_is_still_a_point() -> None:
    ((_, value),) = scalars({"step": 1, "loss": float("nan")})
    assert math.isnan(value)


def test_a_row_without_a_step_is_the_first() -> None:
    assert (step_of({"step": 7}), step_of({}), step_of({"step": "x"})) == (7, 0, 0)
