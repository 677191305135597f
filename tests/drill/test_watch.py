"""Where a training is, from the metrics of a run that is being written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.drill.watch import Progress, read_progress


def write(folder: Path, rows: list[dict[str, object]], torn: str = "") -> None:
    (folder / "metrics").mkdir(exist_ok=True)
    lines = [{"perdure": 1, "chain": []}, *rows]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics" / "000001.jsonl").write_text(text + torn)


def test_before_the_first_row_nothing_is_known(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    write(tmp_path, [])
    assert read_progress(tmp_path) is None


def test_an_epochs_length_is_known_once_the_second_has_begun(tmp_path: Path) -> None:
    write(tmp_path, [{"step": 3, "epoch": 0, "loss": 1.0}], torn='{"step": 4')
    assert read_progress(tmp_path) == Progress(3, 0, None)
    write(tmp_path, [{"step": step, "epoch": step // 10} for step in range(25)])
    progress = read_progress(tmp_path)
    assert progress == Progress(24, 2, 10)
    assert progress.total(5) == 50


@pytest.mark.parametrize(
    ("step", "middle"), [(20, False), (21, False), (22, True), (26, True), (27, False), (29, False)]
)
def test_the_middle_of_an_epoch_is_neither_its_start_nor_its_end(step: int, middle: bool) -> None:
    assert Progress(step, 2, 10).mid_epoch is middle
    assert not Progress(step, 2, None).mid_epoch
    assert Progress(step, 2, None).total(3) is None
