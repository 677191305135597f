"""Generations: one owner, whoever comes first or at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perdure.runtime import generation
from perdure.runtime.generation import Fenced


def test_each_claim_is_the_next_number(tmp_path: Path) -> None:
    assert generation.newest(tmp_path) == 0
    assert [generation.claim(tmp_path) for _ in range(3)] == [1, 2, 3]
    (tmp_path / "gen-notes").touch()
    assert generation.newest(tmp_path) == 3


def test_claims_at_the_same_time_never_share_a_number(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: generation.claim(tmp_path), range(64)))
    assert sorted(claimed) == list(range(1, 65))


def test_the_newest_owns_the_folder(tmp_path: Path) -> None:
    mine = generation.claim(tmp_path)
    generation.check(tmp_path, mine)
    generation.claim(tmp_path)
    with pytest.raises(Fenced, match="generation 1 was superseded by generation 2"):
        generation.check(tmp_path, mine)


def test_a_number_taken_since_it_was_looked_up_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation.claim(tmp_path)
    generation.claim(tmp_path)
    monkeypatch.setattr(generation, "newest", lambda run_dir: 0)
    assert generation.claim(tmp_path) == 3
