"""Each row is seen once, whatever was interrupted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from perdure.runtime import metrics
from perdure.runtime.metrics import Segment, read_rows


def test_rows_after_the_last_durable_checkpoint_give_way_to_those_done_again(
    tmp_path: Path,
) -> None:
    first = Segment(str(tmp_path), 1, [], 0)
    first.log({"step": 1})
    chain, rows = first.chain(), first.rows
    first.log({"step": 2, "lost": True})
    first.close()
    second = Segment(str(tmp_path), 2, chain, rows)
    second.log({"step": 2})
    second.sync()
    assert second.rows == 2
    assert read_rows(str(tmp_path)) == [{"step": 1}, {"step": 2}]
    third = Segment(str(tmp_path), 3, second.chain(), second.rows)
    assert read_rows(str(tmp_path)) == [{"step": 1}, {"step": 2}]
    second.close()
    third.close()


def test_an_attempt_that_never_restored_hides_nothing(tmp_path: Path) -> None:
    segment = Segment(str(tmp_path), 1, [], 0)
    segment.log({"step": 1})
    segment.close()
    (tmp_path / "metrics" / "000002.jsonl").write_bytes(b"")
    (tmp_path / "metrics" / "000003.jsonl").write_bytes(b'{"perdure":1,"cha')
    assert read_rows(str(tmp_path)) == [{"step": 1}]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    segment = Segment(str(tmp_path), 1, [], 0)
    segment.log({"step": 1})
    segment.close()
    with (tmp_path / "metrics" / "000001.jsonl").open("ab") as file:
        file.write(b'{"step":2,"lo')
    assert read_rows(str(tmp_path)) == [{"step": 1}]


def test_a_segment_that_is_gone_takes_only_its_own_rows(tmp_path: Path) -> None:
    segment = Segment(str(tmp_path), 2, [("000001.jsonl", 500)], 9)
    segment.log({"step": 10})
    segment.close()
    assert read_rows(str(tmp_path)) == [{"step": 10}]


def test_without_metrics_there_are_no_rows(tmp_path: Path) -> None:
    assert read_rows(str(tmp_path)) == []
    (tmp_path / "metrics").mkdir()
    assert read_rows(str(tmp_path)) == []


def test_a_full_disk_keeps_the_rows_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = Segment(str(tmp_path), 1, [], 0)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    problem = segment.log({"step": 1})
    assert problem is not None
    assert problem.errno == errno.ENOSPC
    with pytest.raises(OSError, match="No space"):
        segment.sync()
    # Three bytes at a time: a write may be short.
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    assert segment.log({"step": 2}) is None
    monkeypatch.undo()
    assert read_rows(str(tmp_path)) == [{"step": 1}, {"step": 2}]
    segment.close()


def test_numbers_come_out_of_arrays() -> None:
    assert metrics.plain(np.float64(0.1)) == 0.1
    assert metrics.plain("text") == "text"
    assert metrics.plain(np.array(3)) == 3
