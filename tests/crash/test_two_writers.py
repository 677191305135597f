"""Two attempts in one folder: the newer owns it, the older stops with 76 and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.runtime import generation, metrics, names
from tests.crash import programs


@pytest.mark.parametrize("every", [1e-9, 1000.0])
def test_the_older_attempt_is_fenced(tmp_path: Path, every: float) -> None:
    """At its next periodic save, or at its last one where no periodic one comes."""
    folder = tmp_path / "run"
    older = programs.begin(folder, 12, every=every, wait_at=5)
    programs.await_line(older, "waiting")
    newer = programs.train(folder, 9)
    assert newer.code == 0, newer.err
    ended = programs.end(older, "\n")
    assert ended.code == names.EXIT_FENCED, ended.err
    assert "superseded by generation 2" in ended.err
    assert "Traceback" not in ended.err
    loaded = programs.latest(folder)
    assert (loaded.meta["generation"], loaded.meta["step"]) == (2, 9)
    assert [row["value"] for row in metrics.read_rows(str(folder))] == [*range(9)]


def test_the_newer_one_may_be_fenced_in_turn(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = programs.begin(folder, 9, wait_at=3)
    programs.await_line(first, "waiting")
    second = programs.begin(folder, 9, wait_at=6)
    programs.await_line(second, "waiting")
    third = programs.train(folder, 9)
    codes = [programs.end(process, "\n").code for process in (second, first)]
    assert (codes, third.code) == ([names.EXIT_FENCED] * 2, 0)
    assert generation.newest(folder) == 3
    assert programs.latest(folder).meta["generation"] == 3
    assert [row["value"] for row in metrics.read_rows(str(folder))] == [*range(9)]
