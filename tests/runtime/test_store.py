"""The checkpoint protocol on real folders; crashes and damage are in tests/crash."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from perdure.runtime import generation, staging
from perdure.runtime.arrays import Region
from perdure.runtime.faults import CorruptError
from perdure.runtime.generation import Fenced
from perdure.runtime.store import FORMAT, Store, read_meta


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def open_store(folder: Path, *, keep: int = 3, rank: int = 0) -> Store:
    return Store(str(folder), generation.claim(folder), keep=keep, rank=rank)


def publish(store: Store, step: int) -> str:
    path = store.begin(step)
    layout = staging.lay_out({})
    memory = staging.allocate(layout.nbytes)
    memory[: layout.nbytes] = layout.header
    shard = store.write_shard(path, step, memory, layout)
    store.write_meta(path, {"format": FORMAT, "step": step, **shard})
    return store.publish(path, step)


def test_the_newest_is_loaded_by_generation_then_step_then_save(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    publish(first, 90)
    second = open_store(tmp_path)
    names = [publish(second, step) for step in (9, 10, 10, 10)]
    assert names[1:] == [f"g000002-s0000000010{end}" for end in ("", "-1", "-2")]
    assert second.candidates() == [*reversed(names), "g000001-s0000000090"]
    loaded = second.latest(pytest.fail)
    assert loaded is not None
    assert loaded.name == names[-1]
    with pytest.raises(CorruptError, match="lacks the array `x`"):
        loaded.fetch("x")


def test_names_of_other_things_are_left_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for name in ("tmp-1", "del-1", "bad-g000001-s1-x", "g1-s", "gx-s1", "g1-s1-", "notes"):
        (tmp_path / "checkpoints" / name).mkdir()
    assert store.candidates() == []
    assert store.latest(pytest.fail) is None
    store.sweep()
    left = names_in(store.root)
    assert left == ["bad-g000001-s1-x", "g1-s", "g1-s1-", "gx-s1", "notes"]


def test_all_but_the_newest_are_deleted(tmp_path: Path) -> None:
    store = open_store(tmp_path, keep=2)
    names = [publish(store, step) for step in range(5)]
    store.collect_garbage()
    assert names_in(store.root) == names[-2:]


def test_a_folder_that_cannot_be_tidied_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    store = open_store(tmp_path, keep=1)
    names = [publish(store, step) for step in range(2)]
    monkeypatch.setattr(os, "rename", fail)
    store.collect_garbage()
    store.set_aside(names[0])
    assert store.candidates() == names[::-1]
    monkeypatch.setattr(os, "listdir", fail)
    store.collect_garbage()
    assert isinstance(store.why(ValueError()), ValueError)


def test_an_older_attempt_neither_begins_nor_publishes(tmp_path: Path) -> None:
    older = open_store(tmp_path)
    path = older.begin(1)
    open_store(tmp_path).sweep()
    assert not Path(path).exists()
    with pytest.raises(Fenced):
        older.begin(2)
    assert isinstance(older.why(FileNotFoundError()), Fenced)
    Path(path).mkdir()
    with pytest.raises(Fenced):
        older.publish(path, 1)
    older.abandon(path)
    assert names_in(older.root) == []


def test_a_rename_that_fails_is_told(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    path = store.begin(1)
    (tmp_path / "checkpoints" / "g000001-s0000000001").write_text("a file")
    with pytest.raises(NotADirectoryError):
        store.publish(path, 1)


def test_a_failed_write_waits_for_its_digest(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(FileNotFoundError):
        store.write_shard(str(tmp_path / "gone"), 1, staging.allocate(8), staging.lay_out({}))


def test_each_rank_has_its_shard_which_the_first_vouches_for(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    other = Store(str(tmp_path), first.generation, rank=3)
    path = first.begin(1)
    layout = staging.lay_out({})
    memory = staging.allocate(layout.nbytes)
    memory[: layout.nbytes] = layout.header
    shard = other.write_shard(path, 1, memory, layout)
    digest = other.write_meta(path, {"format": FORMAT, **shard})
    meta = first.write_shard(path, 1, memory, layout)
    first.write_meta(path, {"format": FORMAT, **meta, "shards": {"3": digest}})
    name = first.publish(path, 1)
    assert other.load(name).meta["self"] == digest
    assert read_meta(f"{first.root}/{name}/meta.json")["shards"] == {"3": digest}
    with pytest.raises((CorruptError, OSError)):
        Store(str(tmp_path), 1, rank=2).load(name)
    changed = Path(first.root, name, "meta-r00003.json")
    changed.unlink()
    other.write_meta(str(changed.parent), {"format": FORMAT, **shard, "step": 9})
    with pytest.raises(CorruptError, match="another shard of rank 3"):
        other.load(name)


def test_a_checkpoint_that_vanishes_while_it_is_read_is_replaced_by_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that is just being fenced publishes one more and deletes the one before."""
    store = open_store(tmp_path, keep=1)
    publish(store, 1)
    real = Store.load

    def load(self: Store, name: str) -> object:
        if name.endswith("1"):
            publish(self, 2)
            self.collect_garbage()
        return real(self, name)

    monkeypatch.setattr(Store, "load", load)
    said: list[str] = []
    loaded = store.latest(said.append)
    assert loaded is not None
    assert loaded.meta["step"] == 2
    assert len(said) == 1


def test_a_region_of_the_loaded_file(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    publish(store, 1)
    loaded = store.latest(pytest.fail)
    assert loaded is not None
    held = type(loaded)(loaded.name, loaded.meta, loaded.memory, {"x": (8, 4)})
    assert held.fetch("x") == Region(loaded.memory, 8, 4)
