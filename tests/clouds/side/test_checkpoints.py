"""Checkpoints that are whole in a bucket, or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from perdure.clouds import history
from perdure.clouds.side import checkpoints, keys
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.checkpoints import Damaged, Shelf, Superseded

NAME = "g000001-s0000000010"
PART = 1000


def make(run_dir: Path, name: str = NAME, size: int = 12_345) -> Path:
    folder = run_dir / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "state.safetensors").write_bytes(os.urandom(size))
    (folder / "meta.json").write_bytes(b"{}\n")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def shelf(bucket: Bucket) -> Shelf:
    return Shelf(bucket, "otter", PART)


def test_it_comes_back_as_it_was(shelf: Shelf, tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    assert shelf.upload(folder) == 12_348
    warnings: list[str] = []
    assert checkpoints.restore(shelf, tmp_path / "b", warnings.append) == NAME
    assert content(tmp_path / "b/checkpoints" / NAME) == content(folder)
    assert warnings == []
    assert checkpoints.restore(Shelf(shelf.bucket, "another"), tmp_path, warnings.append) == ""


def hollow(run_dir: Path, name: str) -> None:
    """Have a run folder know of a checkpoint whose machine died before the rest was sent."""
    folder = run_dir / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "meta.json").write_bytes(b"{}\n")


def test_one_of_which_only_its_meta_came_is_none(tmp_path: Path) -> None:
    newer = "g000001-s0000000020"
    make(tmp_path)
    hollow(tmp_path, newer)
    assert checkpoints.here(tmp_path) == [NAME]
    assert checkpoints.told(tmp_path) == [newer, NAME]


def test_from_one_cloud_to_another_goes_the_newest_that_is_whole(
    bucket: Bucket, tmp_path: Path
) -> None:
    folder = make(tmp_path / "a")
    hollow(tmp_path / "a", "g000001-s0000000020")
    history.bring(bucket, "otter", tmp_path / "a", "somebody")
    assert checkpoints.restore(Shelf(bucket, "otter"), tmp_path / "b", print) == NAME
    assert content(tmp_path / "b/checkpoints" / NAME) == content(folder)


def test_an_upload_that_was_broken_off_does_not_count_and_goes_on(
    shelf: Shelf, tmp_path: Path
) -> None:
    folder = make(tmp_path)
    asked = [0]

    def after_five() -> bool:
        asked[0] += 1
        return asked[0] > 5

    with pytest.raises(Superseded):
        shelf.upload(folder, is_superseded=after_five)
    assert shelf.committed() == []
    sent = shelf.upload(folder)
    assert 0 < sent <= 12_348 - 4 * PART
    assert shelf.committed() == [NAME]


def test_nothing_counts_before_it_is_confirmed(shelf: Shelf, tmp_path: Path) -> None:
    class Fenced(Exception):
        pass

    def refuse() -> None:
        raise Fenced

    with pytest.raises(Fenced):
        shelf.upload(make(tmp_path), confirm=refuse)
    assert shelf.committed() == []


def test_what_is_deleted_meanwhile_is_read_to_its_end(shelf: Shelf, tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    before = content(folder)

    def delete() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return False

    shelf.upload(folder, is_superseded=delete)
    checkpoints.restore(shelf, tmp_path / "b", lambda text: None)
    assert content(tmp_path / "b/checkpoints" / NAME) == before


@pytest.mark.parametrize("harm", ["part", "lost", "manifest", "newer"])
def test_a_damaged_one_is_passed_over_loudly(shelf: Shelf, tmp_path: Path, harm: str) -> None:
    older = make(tmp_path / "a", "g000001-s0000000005")
    shelf.upload(older)
    shelf.upload(make(tmp_path / "a"))
    part = keys.job("otter", keys.part(NAME, "state.safetensors", 3))
    manifest = keys.job("otter", keys.manifest(NAME))
    if harm == "lost":
        shelf.bucket.delete([part])
    else:
        key = part if harm == "part" else manifest
        shelf.bucket.put(key, b'{"format": 99, "part_bytes": 1, "files": {}}')
    if harm == "manifest":
        shelf.bucket.put(manifest, b'{"files": 3')
    warnings: list[str] = []
    found = checkpoints.restore(shelf, tmp_path / "b", warnings.append)
    assert found == older.name
    assert len(warnings) == 1
    assert NAME in warnings[0]
    assert [each.name for each in (tmp_path / "b/checkpoints").iterdir()] == [older.name]


def test_the_newest_are_kept_and_nothing_is_left_of_others(shelf: Shelf, tmp_path: Path) -> None:
    named = [f"g00000{g}-s{s:010d}" for g, s in ((1, 10), (1, 20), (2, 5))]
    for name in named:
        shelf.upload(make(tmp_path, name))
    broken = keys.job("otter", keys.part("g000001-s0000000015", "state.safetensors", 0))
    shelf.bucket.put(broken, b"x")
    shelf.keep_newest(2)
    assert shelf.committed() == [named[2], named[1]]
    left = {name.split("/")[3].removesuffix(".json") for name in shelf.bucket.names("jobs/otter")}
    assert left == {named[2], named[1]}
    with pytest.raises(Damaged):
        shelf.fetch(named[0], tmp_path / "nowhere")
