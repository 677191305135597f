from __future__ import annotations

import io

import pytest

from perdure.cli.progress import ERASE, ProgressLine, Teller, bar


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("the terminal is gone")


def test_short_work_shows_no_clock_and_long_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock)
    line.show("syncing")
    clock.now = 1.9
    line.show("syncing")
    assert " s" not in stream.getvalue()
    clock.now = 65
    line.show("syncing")
    assert stream.getvalue().endswith(f"{ERASE}syncing  1 min 5 s")
    line.close()
    assert stream.getvalue().endswith(ERASE)


def test_a_new_message_starts_its_own_clock() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock)
    line.show("locking")
    clock.now = 30
    line.show("syncing")
    assert stream.getvalue().endswith(f"{ERASE}syncing")
    line.close()


def test_the_line_never_wraps_nor_writes_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    line = ProgressLine(stream, Clock())
    line.hold("a\nb\x1b[2J" + "x" * 100)
    drawn = stream.getvalue().removeprefix(ERASE)
    assert len(drawn) == 19
    assert "\n" not in drawn
    assert "\x1b" not in drawn
    line.clear()
    line.clear()
    assert stream.getvalue().count(ERASE) == 2


def test_a_terminal_that_goes_away_stops_nothing() -> None:
    line = ProgressLine(Gone(), Clock())
    line.show("syncing")
    line.close()


def test_bar_is_full_at_the_end_and_never_over() -> None:
    assert bar(0, 4) == "─" * 20 + "  0/4"
    assert bar(2, 4) == "━" * 10 + "─" * 10 + "  2/4"
    assert bar(9, 4).startswith("━" * 20)
    assert bar(0, 0) == "─" * 20 + "  0/0"


def test_elsewhere_each_message_is_told_once_and_counts_now_and_then() -> None:
    told: list[str] = []
    clock = Clock()
    tell = Teller(told.append, clock)
    tell("locking")
    tell("locking")
    for done in range(4):
        tell("runs", done=done, total=4)
    clock.now = 11
    tell("runs", done=3, total=4)
    tell("runs", done=4, total=4)
    tell("locking")
    assert told == ["locking", "runs 0/4", "runs 3/4", "runs 4/4", "locking"]
