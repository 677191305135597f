from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from perdure.runtime.supervisor import notice
from perdure.runtime.supervisor.notice import Notice, TouchedFile, grace_left, read_notice


def test_the_grace_ends_at_a_deadline_that_lies_ahead() -> None:
    assert grace_left(Notice("x"), now=1000, grace_s=30) == 30
    assert grace_left(Notice("x", 1120), now=1000, grace_s=30) == 120
    assert grace_left(Notice("x", 1005), now=1000, grace_s=30) == 5


def test_a_deadline_that_has_passed_takes_no_grace_away() -> None:
    assert grace_left(Notice("x", 1000), now=1000, grace_s=30) == 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", Notice("file")),
        (b"\xff\x00", Notice("file")),
        (b"[" * 100_000, Notice("file")),
        (b"3", Notice("file")),
        (b'{"reason": "", "deadline": "soon"}', Notice("file")),
        (b'{"reason": 3, "deadline": true}', Notice("file")),
        (b'{"reason": "spot", "deadline": 12}', Notice("spot", 12.0)),
        (b'{"deadline": NaN}', Notice("file")),
        (b'{"deadline": Infinity}', Notice("file")),
        (b'{"deadline": 1' + b"0" * 400 + b"}", Notice("file")),
        (b'{"reason": "' + b"x" * 5000 + b'"}', Notice("x" * notice.LONGEST_REASON)),
    ],
)
def test_what_a_touched_file_says(text: bytes, expected: Notice) -> None:
    assert read_notice(text, "file") == expected


def test_a_touched_file_is_heard_once(run_dir: Path) -> None:
    touched = TouchedFile(str(run_dir), "PREEMPT", "file")
    assert touched.take(3) is None
    (run_dir / "PREEMPT").write_text(json.dumps({"reason": "é\n$(x)", "deadline": 5}))
    assert touched.take(3) == Notice("é\n$(x)", 5.0)
    assert touched.take(3) is None
    assert [path.name for path in run_dir.iterdir()] == ["PREEMPT.ack-g000003"]


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_whatever_has_the_name_counts(run_dir: Path, kind: str) -> None:
    path = run_dir / "PREEMPT"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/nowhere")
    else:
        os.mkfifo(path)
    assert TouchedFile(str(run_dir), "PREEMPT", "file").take(1) == Notice("file")
    assert not os.path.lexists(path)


def test_a_file_that_cannot_be_renamed_is_heard_once_too(run_dir: Path) -> None:
    (run_dir / "PREEMPT").touch()
    (run_dir / "PREEMPT.ack-g000001").mkdir()  # a file never replaces a folder
    touched = TouchedFile(str(run_dir), "PREEMPT", "file")
    assert touched.take(1) == Notice("file")
    assert touched.take(1) is None
    os.utime(run_dir / "PREEMPT", (1, 1))  # touched again
    assert touched.take(1) == Notice("file")


@pytest.mark.parametrize(("touched_at", "left"), [(99, False), (100, False), (101, True)])
def test_a_file_that_the_last_attempt_was_there_to_hear_is_stale(
    run_dir: Path, touched_at: int, left: bool
) -> None:
    (run_dir / "attempts").mkdir()
    (run_dir / "attempts" / "000002.jsonl").touch()
    os.utime(run_dir / "attempts" / "000002.jsonl", (100, 100))
    (run_dir / "PREEMPT").touch()
    os.utime(run_dir / "PREEMPT", (touched_at, touched_at))
    touched = TouchedFile(str(run_dir), "PREEMPT", "file")
    # Attempt 3 claimed its number and died before its first event.
    touched.drop_stale(notice.last_words(str(run_dir), 4), 4)
    assert (run_dir / "PREEMPT").exists() == left
    assert (run_dir / "PREEMPT.stale-g000004").exists() != left
    assert (touched.take(4) is not None) == left


def test_a_file_before_the_first_attempt_is_meant(run_dir: Path) -> None:
    touched = TouchedFile(str(run_dir), "PREEMPT", "file")
    touched.drop_stale(None, 1)  # nothing there yet
    (run_dir / "PREEMPT").touch()
    os.utime(run_dir / "PREEMPT", (1, 1))
    touched.drop_stale(notice.last_words(str(run_dir), 1), 1)
    assert touched.take(1) == Notice("file")
