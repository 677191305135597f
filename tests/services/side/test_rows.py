from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from perdure.runtime.metrics import Segment, read_rows
from perdure.services.side.rows import Follower


def values(follower: Follower) -> list[object]:
    return [row["step"] for _, row in follower.fresh().rows]


def follow(run_dir: Path) -> Follower:
    return Follower(run_dir / "metrics")


def log(segment: Segment, steps: Sequence[int]) -> None:
    for step in steps:
        segment.log({"step": step, "loss": step / 2})


def test_rows_are_told_once_as_they_come(tmp_path: Path) -> None:
    follower, segment = follow(tmp_path), Segment(str(tmp_path), 1, [], 0)
    assert values(follower) == []
    log(segment, [0, 1])
    assert values(follower) == [0, 1]
    assert values(follower) == []
    log(segment, [2])
    assert values(follower) == [2]


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    fresh = follow(tmp_path).fresh()
    assert (fresh.again, fresh.rows) == (False, [])


def test_a_torn_line_is_told_when_it_is_whole(tmp_path: Path) -> None:
    follower, segment = follow(tmp_path), Segment(str(tmp_path), 1, [], 0)
    log(segment, [0])
    file = tmp_path / "metrics" / segment.name
    with file.open("a") as torn:
        torn.write('{"step": 1, "lo')
    assert values(follower) == [0]
    with file.open("a") as torn:
        torn.write('ss": 1}\n')
    assert values(follower) == [1]


def test_an_attempt_that_goes_on_takes_nothing_back(tmp_path: Path) -> None:
    follower, first = follow(tmp_path), Segment(str(tmp_path), 1, [], 0)
    log(first, [0, 1])
    assert values(follower) == [0, 1]
    log(Segment(str(tmp_path), 2, first.chain(), 2), [2, 3])
    fresh = follower.fresh()
    assert not fresh.again
    assert [row["step"] for _, row in fresh.rows] == [2, 3]


def test_steps_that_are_done_again_take_the_old_ones_back(tmp_path: Path) -> None:
    follower, first = follow(tmp_path), Segment(str(tmp_path), 1, [], 0)
    log(first, [0, 1])
    saved = first.chain()
    log(first, [2, 3, 4])
    assert values(follower) == [0, 1, 2, 3, 4]
    second = Segment(str(tmp_path), 2, saved, 2)
    log(second, [2])
    fresh = follower.fresh()
    assert fresh.again
    assert [row for _, row in fresh.rows] == read_rows(str(tmp_path))
    log(second, [3])
    assert values(follower) == [3]


def test_an_attempt_that_began_anew_counts_alone(tmp_path: Path) -> None:
    follower, first = follow(tmp_path), Segment(str(tmp_path), 1, [], 0)
    log(first, [0, 1])
    assert values(follower) == [0, 1]
    log(Segment(str(tmp_path), 2, [], 0), [0])
    fresh = follower.fresh()
    assert (fresh.again, len(fresh.rows)) == (True, 1)


def test_a_header_that_is_not_whole_waits(tmp_path: Path) -> None:
    follower, first = follow(tmp_path), Segment(str(tmp_path), 1, [], 0)
    log(first, [0])
    (tmp_path / "metrics" / "000002.jsonl").write_text('{"perdure": 1, "ch')
    assert values(follower) == [0]
    (tmp_path / "metrics" / "000002.jsonl").write_text(
        json.dumps({"perdure": 1, "chain": first.chain()}) + "\n"
    )
    assert values(follower) == []
