from __future__ import annotations

import io
from pathlib import Path

import pytest

from perdure.cli.following import Follower, after_words, told_event
from perdure.cli.render import Console
from perdure.model.job import Event, EventValue


def event(name: str, attempt: int = 1, at: float = 100.0, **fields: EventValue) -> Event:
    return Event(attempt, at, name, fields)


@pytest.mark.parametrize(
    ("happened", "told"),
    [
        (event("started", pid=1.0), ""),
        (event("restored", step=0.0, generation=None), ""),
        (event("restored", 2, step=40.0, generation=1.0), "attempt 2 goes on from step 40"),
        (event("restored", 2, step=0.0), "attempt 2 begins again: nothing was saved"),
        (event("notice", reason="spot", grace_s=30.0), "notice: spot; 30 s to save and stop"),
        (event("notice", reason="x"), "notice: x; 0 s to save and stop"),
        (event("warning", text="disk is full"), "warning: disk is full"),
        (event("exited", reason="done", code=0.0), ""),
        (
            event("exited", reason="killed", code=None, signal=9.0, durable_step=7.0),
            "attempt 1 stopped: killed (signal 9), saved at step 7",
        ),
        (
            event("exited", reason="crashed", code=1, signal=None),
            "attempt 1 stopped: crashed (exit code 1), nothing saved",
        ),
        # An earlier attempt may have saved.
        (
            event("exited", 2, reason="interrupted", code=None, signal=15.0),
            "attempt 2 stopped: interrupted (signal 15), nothing new saved",
        ),
        (event("waiting", seconds=4.0, reason="killed"), "tries again in 4 s: killed"),
        (event("ended", state="SUCCEEDED", reason="done", code=0.0), "SUCCEEDED"),
        (event("ended", state="FAILED", reason="crashed", code=9.0), "FAILED (crashed)"),
        (event("a-new-kind"), ""),
        (event("ended"), ""),
    ],
)
def test_what_a_follower_is_told(happened: Event, told: str) -> None:
    assert told_event(happened) == told


def test_the_line_says_where_the_job_stands() -> None:
    follower = Follower(
        Path("/results/calm-fox"), Console(io.StringIO(), io.StringIO()), clock=lambda: 100.0
    )
    assert follower.line() == "calm-fox  starting  0 s"
    for happened in (
        event("started", pid=1.0),
        event("step", step=10.0),
        event("durable", at=88.0, step=12.0, bytes=1.0),
    ):
        follower.tell(happened)
    assert follower.line() == "calm-fox  running  step 12  saved at 12, 12 s ago  0 s"
    follower.tell(event("notice", reason="x", grace_s=3.0))
    assert "stopping" in follower.line()
    follower.tell(event("ended", 2, state="INTERRUPTED", reason="interrupted", code=75.0))
    assert "interrupted  attempt 2" in follower.line()
    assert follower.exit_code == 75


def test_saves_are_told_to_who_asks_for_more() -> None:
    said = io.StringIO()
    Follower(Path("/results/a"), Console(io.StringIO(), said, verbose=True)).tell(
        event("durable", step=12.0)
    )
    assert said.getvalue() == "a: saved at step 12\n"


def test_what_can_be_done_next() -> None:
    assert after_words("a", 75) == "go on: perdure resume a"
    assert "perdure resume a" in after_words("a", 130)
    assert after_words("a", 0) == after_words("a", 9) == ""
