"""The README's figures: what was measured, what it had to reach, and whether it did."""

from __future__ import annotations

import pytest

from benchmarks import table
from benchmarks.table import Figure, Results

STALL: Figure = {
    "claim": "stall of a checkpoint | 1 GiB",
    "ours": "54 ms",
    "limit": "memcpy 55 ms",
    "ratio": 0.98,
    "at_most": 1.2,
    "peers": "torch.save + fsync 718 ms",
}


def test_a_figure_is_a_row_and_the_machine_is_named() -> None:
    results: Results = {"machine": "2 cores", "measured": "2026-01-31", "figures": [STALL]}
    lines = table.table(results).splitlines()
    assert lines[2] == (
        "| stall of a checkpoint / 1 GiB | 54 ms | memcpy 55 ms | 0.98 | <= 1.2 "
        "| torch.save + fsync 718 ms |"
    )
    assert lines[-1] == "Measured 2026-01-31 on 2 cores."


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ({"ratio": 1.2, "at_most": 1.2}, "<= 1.2"),
        ({"ratio": 1.3, "at_most": 1.2}, "<= 1.2 **not reached**"),
        ({"ratio": 0.9, "at_least": 0.8}, ">= 0.8"),
        ({"ratio": 0.7, "at_least": 0.8}, ">= 0.8 **not reached**"),
        ({"at_most": 1.2}, "<= 1.2 **not reached**"),
        ({"ratio": 0.7}, ""),
    ],
)
def test_what_is_not_reached_is_said(figure: Figure, said: str) -> None:
    assert table.target(figure) == said


def test_only_what_is_between_the_markers_changes() -> None:
    readme = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    assert table.filled(readme, "new") == readme.replace("old", "new")


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        table.filled("no markers", "new")
