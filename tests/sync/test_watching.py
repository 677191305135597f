"""What is looked at again and again on the other side."""

from __future__ import annotations

import os
from pathlib import Path

from perdure.sync.far.patterns import Patterns
from perdure.sync.far.watching import Search, Watch


def test_whoever_looks_through_folders_says_that_it_goes_on(tmp_path: Path) -> None:
    """A disk over a network may take seconds, and silence would be taken for a dead connection."""
    for number in range(50):
        (tmp_path / f"f{number}").mkdir()
    ticks = list[int]()
    search = Search(Patterns([]), frozenset(), frozenset())
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    Watch(root, {}, search, lambda: ticks.append(1)).changes()
    os.close(root)
    assert len(ticks) >= 50
