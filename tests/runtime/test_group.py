"""Several ranks as one run: one generation, one commit, one verdict on a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from perdure.runtime import generation, group
from perdure.runtime.faults import GroupError, MismatchError
from perdure.runtime.generation import Fenced
from perdure.runtime.group import Group
from perdure.runtime.store import Store
from tests.runtime.group_of_threads import WORLD, Ranks


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    made = Ranks()
    yield made
    made.close()


def stores(folder: Path) -> list[Store]:
    mine = generation.claim(folder)
    return [Store(str(folder), mine, rank=rank) for rank in range(WORLD)]


def manifest(rank: int) -> dict[str, object]:
    return {"format": 1, "rank": rank, "state_bytes": 0, "versions": {"world": WORLD}}


def test_every_rank_gets_the_words_of_the_first(ranks: Ranks) -> None:
    assert ranks.each(lambda one: one.share(f"said by {one.rank}")) == ["said by 0"] * WORLD


def test_one_generation_for_all(ranks: Ranks, tmp_path: Path) -> None:
    assert ranks.each(lambda one: one.claim(str(tmp_path), None)) == [1, 1, 1]
    assert ranks.each(lambda one: one.claim(str(tmp_path), 7)) == [7, 7, 7]


def test_ranks_that_torchrun_has_started_again_claim_anew(tmp_path: Path) -> None:
    generation.claim(tmp_path)
    again = Ranks(TORCHELASTIC_RESTART_COUNT="1")
    assert again.each(lambda one: one.claim(str(tmp_path), 1)) == [2, 2, 2]
    again.close()


def test_a_folder_that_cannot_be_claimed_fails_everywhere(ranks: Ranks, tmp_path: Path) -> None:
    first, *others = ranks.each(lambda one: one.claim(str(tmp_path / "missing"), None))
    assert isinstance(first, FileNotFoundError)
    assert all("could not claim the run folder" in str(error) for error in others)


def test_a_checkpoint_holds_all_shards(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    names = ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: manifest(one.rank)))
    assert names == ["g000001-s0000000005"] * WORLD
    folder = tmp_path / "checkpoints" / "g000001-s0000000005"
    meta = json.loads((folder / "meta.json").read_text().splitlines()[0])
    assert sorted(meta["shards"]) == ["1", "2"]
    assert ranks.store.num_keys() < 20


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_in_one_rank_fails_all_and_leaves_nothing(
    ranks: Ranks, tmp_path: Path, failing: int
) -> None:
    of = stores(tmp_path)

    def write(one: Group) -> Mapping[str, object]:
        if one.rank == failing:
            raise OSError(28, "No space left on device")
        return manifest(one.rank)

    found = ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: dict(write(one))))
    assert isinstance(found[failing], OSError)
    assert all("No space left" in str(error) for error in found)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    again = ranks.each(lambda one: one.commit(of[one.rank], 6, lambda _: manifest(one.rank)))
    assert again == ["g000001-s0000000006"] * WORLD


def test_a_second_owner_fences_every_rank(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    generation.claim(tmp_path)
    found = ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: manifest(one.rank)))
    assert all(isinstance(error, Fenced) and error.newest == 2 for error in found), found


def test_a_rank_that_never_writes_its_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_HEARD_LIMIT_S", 0.1)
    made = Ranks(limit_s=0.3)
    of = stores(tmp_path)

    def commit(one: Group) -> object:
        return None if one.rank == 2 else one.commit(of[one.rank], 5, lambda _: manifest(one.rank))

    first, second, _ = made.each(commit)
    assert "did not answer" in str(first)
    assert isinstance(second, GroupError)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    made.close()


def test_a_newer_format_stops_every_rank(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    newer = {**manifest(0), "format": 99}
    ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: dict(newer)))
    found = ranks.each(lambda one: one.latest(of[one.rank], lambda _: None))
    assert all(isinstance(error, MismatchError) for error in found)
    assert "has format 99" in str(found[0])


def test_no_checkpoint_is_none(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    assert ranks.each(lambda one: one.latest(of[one.rank], lambda _: None)) == [None] * WORLD


def test_an_owner_that_comes_while_the_shards_are_written(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)

    def write(one: Group) -> dict[str, object]:
        if one.rank == 0:
            generation.claim(tmp_path)
        return manifest(one.rank)

    found = ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: write(one)))
    assert all(isinstance(error, Fenced) for error in found), found
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_leaving_a_group_whose_host_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Ranks()

    def put(key: str, text: str) -> None:
        raise GroupError(f"the ranks have lost each other: {key} {text}")

    monkeypatch.setattr(made.groups[1]._exchange, "put", put)
    made.groups[1].close()
    made.close()


def test_the_host_waits_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_HEARD_LIMIT_S", 0.05)
    made = Ranks(TORCHELASTIC_USE_AGENT_STORE="")
    made.groups[0].close()
    made.close()
