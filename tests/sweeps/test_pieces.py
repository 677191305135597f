"""The small parts of a driver, on values and clocks of their own."""

from __future__ import annotations

import errno
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perdure.errors import HostUnreachable
from perdure.sweeps import asked, holding
from perdure.sweeps.backoff import Backoff
from perdure.sweeps.ended import Figures, Index, Row, read_index
from perdure.sweeps.holding import Word
from perdure.sweeps.plot import Point, drawn
from perdure.sweeps.room import Room
from perdure.sweeps.standing import direction_of
from perdure.sweeps.unbegun import Unbegun
from perdure.sweeps.verdicts import Verdicts


def test_an_interruption_without_progress_waits_longer_each_time() -> None:
    backoff = Backoff()
    waits = []
    for _ in range(9):
        backoff.interrupted(1, 10, 0.0)
        waits.append(next(t for t in range(1000) if backoff.over(1, t / 2)) / 2)
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60]
    assert backoff.over(2, 0.0)
    backoff.interrupted(1, 11, 0.0)
    assert backoff.over(1, 0.0)


def test_room_is_asked_for_again_after_a_moment(tmp_path: Path) -> None:
    now = [0.0]
    room = Room(tmp_path, now=lambda: now[0])
    assert room.there()
    room.refused(OSError(errno.ENOSPC, "No space left on device"))
    assert not room.there()
    assert "no space left" in room.problem
    now[0] = 2.0
    assert room.there()
    assert room.problem == ""
    with pytest.raises(OSError, match="strange"):
        room.refused(OSError(errno.EINVAL, "strange"))


def test_the_index_forgets_torn_lines_and_keeps_the_newest(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.add(Row(1, 1, "FAILED", 9, "crashed"))
    with (tmp_path / "ended.jsonl").open("ab") as file:
        file.write(b'{"trial": 2, "att')
    index = Index(tmp_path)
    index.add(Row(1, 2, "SUCCEEDED", 0, "done", 7, {"loss": Figures(1.0, 0.5, 2.0)}))
    found = read_index(tmp_path)
    assert list(found) == [1]
    assert found[1].metrics["loss"].low == 0.5
    assert read_index(tmp_path / "nowhere") == {}


def test_proposed_values_outlive_a_torn_line(tmp_path: Path) -> None:
    asked.add(tmp_path, 1, {"lr": "1e-3"})
    with (tmp_path / "asked.jsonl").open("ab") as file:
        file.write(b'{"trial": 2, "val')
    asked.add(tmp_path, 3, {"lr": "1e-4"})
    assert asked.read(tmp_path) == {1: {"lr": "1e-3"}, 3: {"lr": "1e-4"}}


def test_a_lock_is_held_by_one_and_says_what_it_waits_for(tmp_path: Path) -> None:
    assert not holding.is_driven(tmp_path)
    assert holding.last_word(tmp_path) is None
    with holding.held(tmp_path) as said:
        assert holding.is_driven(tmp_path)
        size = 0
        for text in ("", "x" * 5000, "no space"):
            said.say(Word(7, 1.0, text))
            size = size or (tmp_path / "supervisor.lock").stat().st_size
            assert (tmp_path / "supervisor.lock").stat().st_size == size
        assert holding.last_word(tmp_path) == Word(7, 1.0, "no space")
        said.release()
        assert not holding.is_driven(tmp_path)


@pytest.mark.parametrize("text", ["\u00e9" * 200, "\U0001f600" * 90, "x" * 5000, "\udcff" * 400])
def test_a_long_word_is_cut_and_a_shorter_one_replaces_all_of_it(tmp_path: Path, text: str) -> None:
    with holding.held(tmp_path) as said:
        for over in ("", "12-34"):
            said.say(Word(7, 1.0, text, over))
            word = holding.last_word(tmp_path)
            assert word is not None
            assert (word.pid, word.over) == (7, over)
            assert len(word.waits) > 60
            assert text.startswith(word.waits)
        said.say(Word(7, 1.0, "no space"))
        assert holding.last_word(tmp_path) == Word(7, 1.0, "no space")


def test_what_an_older_perdure_left_behind_a_word_is_passed_over(tmp_path: Path) -> None:
    lock = tmp_path / "supervisor.lock"
    lock.write_text(
        json.dumps({"pid": 7, "since": 1.0, "waits": "", "over": ""}).ljust(1024) + 'e"}'
    )
    assert holding.last_word(tmp_path) == Word(7, 1.0)
    with holding.held(tmp_path) as said:
        said.say(Word(8, 1.0))
    assert lock.stat().st_size == 1024


class Silent:
    """A pool whose host does not answer at first."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.silent = True

    def cancel(self, job: str) -> None:
        if self.silent:
            raise HostUnreachable("`gpubox` does not answer")
        self.cancelled.append(job)


class GivesUp:
    """Proposals that give up a trial once, on a disk that is full when they are told."""

    def __init__(self) -> None:
        self.told_of: list[int] = []
        self.full = True
        self.given_up = [1]

    def due(self, running: object) -> list[int]:
        found, self.given_up = self.given_up, []
        return found

    def told(self, trial: int, folder: Path, state: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.told_of.append(trial)


def test_a_verdict_is_kept_until_it_is_passed_on(tmp_path: Path) -> None:
    verdicts, pool, proposals = Verdicts(), Silent(), GivesUp()
    running = {1: tmp_path / "sweep-0001"}
    verdicts.ask(proposals, running)  # type: ignore[arg-type]
    said = verdicts.carry_out(pool, running)  # type: ignore[arg-type]
    assert said == "cannot end `sweep-0001`: `gpubox` does not answer"
    pool.silent = False
    assert verdicts.carry_out(pool, running) == ""  # type: ignore[arg-type]
    assert verdicts.carry_out(pool, running) == ""  # type: ignore[arg-type]
    assert pool.cancelled == ["sweep-0001"]
    verdicts.add(1, running[1], "CANCELLED")
    with pytest.raises(OSError, match="No space"):
        verdicts.tell(proposals)  # type: ignore[arg-type]
    assert verdicts.waiting
    proposals.full = False
    verdicts.tell(proposals)  # type: ignore[arg-type]
    assert (proposals.told_of, verdicts.waiting) == ([1], False)


def test_only_what_never_begins_is_counted() -> None:
    unbegun = Unbegun()
    assert [unbegun.rested(1, 0) for _ in range(2)] == [1, 2]
    assert unbegun.rested(2, 0) == 1
    # One that begins says that they can.
    assert unbegun.rested(3, 1) == 0
    assert unbegun.rested(1, 0) == 1
    unbegun.handed(3, 1)
    assert unbegun.rested(3, 1) == 1
    unbegun.handed(3, 1)
    assert unbegun.rested(3, 2) == 0


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("loss", "minimize"),
        ("val/acc", "maximize"),
        ("top1", "maximize"),
        ("mean_reward", "maximize"),
        ("error", "minimize"),
        ("trace", "minimize"),
        ("F1", "maximize"),
        ("val/dice_loss", "minimize"),
        ("top1_error", "minimize"),
        ("top5_err", "minimize"),
        ("iou_losses", "minimize"),
        ("Reward-Loss", "minimize"),
        ("accuracy_gap", "minimize"),
        ("score.distance", "minimize"),
        ("lossless_score", "maximize"),
    ],
)
def test_what_is_better_goes_by_the_name(metric: str, direction: str) -> None:
    assert direction_of(metric, None) == direction
    assert direction_of(metric, "minimize") == "minimize"


def test_the_picture_is_whole_whatever_the_values(tmp_path: Path) -> None:
    points = [
        Point({"lr": lr, "kind": kind}, metric, f"job-{lr}<&>")
        for lr, kind, metric in (("1e-5", "a<b", 1.0), ("1e-1", "&", 1e9), ("1e-3", '"', -0.5))
    ]
    picture = drawn("a <sweep> & more", "loss", ["lr", "kind"], points, points[0].name)
    root = ET.fromstring(picture)
    circles = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 6
    assert all(0 <= float(c.attrib["cx"]) <= 340 for c in circles)
    ET.fromstring(drawn("none", "loss", ["lr"], [], ""))
    ET.fromstring(drawn("one", "loss", ["lr"], points[:1], ""))


METRIC = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(METRIC, min_size=1, max_size=4), st.sampled_from([1, 3]))
@example([1e18], 3)
@example([-1.7e308, 1.7e308], 1)
@example([5e-324, 1e-323, 1.7e308], 1)
@example([0.0, 5e-324], 1)
def test_a_picture_has_all_its_points_inside(metrics: list[float], times: int) -> None:
    points = [Point({"x": repr(each)}, each, "job") for each in metrics * times]
    root = ET.fromstring(drawn("all", "flops", ["x"], points, ""))
    circles = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(points)
    assert all(64 <= float(each.attrib["cx"]) <= 328 for each in circles)
    assert all(30 <= float(each.attrib["cy"]) <= 216 for each in circles)
    words = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert not {"nan", "inf", "-inf"} & set(words)
