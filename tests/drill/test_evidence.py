"""What a run folder says, read from files written by hand: torn and foreign ones too."""

from __future__ import annotations

import json
from pathlib import Path

from perdure.drill.evidence import (
    AttemptEnd,
    Fired,
    count,
    read_course,
    read_evidence,
    read_fired,
    read_traces,
)
from perdure.drill.plan import Course
from perdure.drill.report import Coverage

COURSE = Course(30, (0, 10, 20))


def trace_file(folder: Path, name: str, *rows: object, torn: str = "") -> None:
    path = folder / "trace" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)


def test_a_folder_without_a_drill_says_nothing(tmp_path: Path) -> None:
    assert read_evidence(tmp_path) is None
    assert read_traces(tmp_path) == ()
    assert read_fired(tmp_path) == ()
    assert read_course(tmp_path) is None


def test_traces_are_read_by_attempt_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    row = {"kind": "batch", "step": 3, "digests": {"batch": "x"}}
    trace_file(tmp_path, "000002.jsonl", row)
    trace_file(tmp_path, "000001.jsonl", row, row, torn='{"kind":"bat')
    trace_file(tmp_path, "000001.fired.jsonl", {"point": "fetch", "step": 3, "what": "kill"})
    first, second = read_traces(tmp_path)
    assert [row.step for row in first] == [3, 3]
    assert second[0].digests == {"batch": "x"}
    assert read_fired(tmp_path) == (Fired(1, "fetch", 3, "kill"),)


def test_epochs_begin_where_the_points_say(tmp_path: Path) -> None:
    points = {"epoch": [0, 10, 20], "fetch": list(range(30)), "finish": [30], "seconds": 1.5}
    trace_file(tmp_path, "000001.points.jsonl", points)
    course = read_course(tmp_path)
    assert course is not None
    assert (course.steps, course.epoch_starts, course.seconds) == (30, (0, 10, 20), 1.5)
    assert course.points["finish"] == (30,)


def test_without_epochs_the_metrics_say_where_they_begin(tmp_path: Path) -> None:
    trace_file(tmp_path, "000001.points.jsonl", {"fetch": [0, 29], "finish": [30], "seconds": 1.0})
    (tmp_path / "metrics").mkdir()
    rows = [{"perdure": 1, "chain": []}]
    rows += [{"step": step, "epoch": (step - 1) // 10} for step in range(1, 31)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics" / "000001.jsonl").write_text(text)
    course = read_course(tmp_path)
    assert course is not None
    assert course.epoch_starts == (0, 10, 20)


def test_only_what_ended_an_attempt_counts() -> None:
    fired = (
        Fired(1, "fetch", 13, "term"),
        Fired(2, "save-mid-data", 15, "kill"),
        Fired(3, "eval", 20, "term"),
        Fired(4, "boundary", 10, "kill"),
        Fired(6, "fetch", 29, "term"),
    )
    codes = (75, -9, 75, -9, 75, 0)
    ends = [AttemptEnd(number, code, 1.0) for number, code in enumerate(codes, start=1)]
    # The fifth attempt was ended by nothing that was fired, the sixth was not ended.
    assert count(COURSE, fired, ends) == Coverage(interruptions=4, mid_epoch=2, in_save=1)


def test_two_signals_in_a_row_are_one_interruption() -> None:
    fired = (Fired(1, "fetch", 13, "term"), Fired(1, "save-meta", 13, "kill"))
    assert count(COURSE, fired, [AttemptEnd(1, -9, 1.0)]) == Coverage(1, 1, 1)
