"""What is written into a job's log when a machine's own disk takes nothing any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.clouds.opening import open_folder
from perdure.clouds.side import log
from perdure.clouds.side.bucket import Bucket
from perdure.instance import last_words
from perdure.moving.address import Address
from perdure.runtime import settled


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_folder(Address("file", "", str(tmp_path / "bucket")))


def test_it_comes_behind_what_is_there(bucket: Bucket, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    writer = log.begin(bucket, "otter", first)
    (first / "attempts").mkdir(parents=True)
    (first / "attempts/000003.jsonl").write_text("{}\n")
    (first / "gen-000003").touch()
    (first / "supervisor.log").write_text("before\n")
    writer.flush()
    last_words.tell(bucket, "otter", "i-1", "ein Wort")
    last_words.write_failed(bucket, "otter", "so it is")
    again = log.begin(bucket, "otter", second)
    assert (second / "supervisor.log").read_text() == "before\ni-1: ein Wort\n"
    assert last_words.told(bucket, "otter", "i-1") == "ein Wort"
    assert last_words.told(bucket, "otter", "i") == ""
    assert (second / "attempts/000003.jsonl").read_text() == "{}\n"
    (ended,) = settled.ended(second, 3)
    assert (ended["state"], ended["reason"]) == ("FAILED", "so it is")
    assert json.loads((second / "gen-000004").read_text())["pid"] > 0
    assert again.flush() == 0


def test_it_is_all_there_is_of_a_job_that_never_began(bucket: Bucket, tmp_path: Path) -> None:
    last_words.write_failed(bucket, "otter", "never")
    log.begin(bucket, "otter", tmp_path / "seen")
    assert settled.is_over(tmp_path / "seen", 0)
