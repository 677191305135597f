"""Every row of the table: what an exit means."""

from __future__ import annotations

import pytest

from perdure.runtime.supervisor.decision import (
    Budget,
    Exit,
    Limits,
    Verdict,
    decide,
    exit_code,
    stopped_between,
)

LIMITS = Limits(retries=2, backoff_s=1.0)
AWARE = Exit(code=None, greeted=True, stepped=True)


def verdict(end: Exit, budget: Budget | None = None) -> Verdict:
    return decide(end, budget or Budget(), LIMITS)


FINAL = {
    "done": (Exit(0), "done", "SUCCEEDED", 0),
    "done in spite of a notice": (Exit(0, noticed=True), "done", "SUCCEEDED", 0),
    "interrupted": (Exit(75, noticed=True), "interrupted", "INTERRUPTED", 75),
    "interrupted without a notice": (Exit(75), "interrupted", "INTERRUPTED", 75),
    "said 75, but a launcher made it 1": (
        Exit(1, said=75, greeted=True, noticed=True),
        "interrupted",
        "INTERRUPTED",
        75,
    ),
    "said 75, but a shell made it 0": (Exit(0, said=75), "interrupted", "INTERRUPTED", 75),
    "said 75, then killed": (
        Exit(None, 9, said=75, noticed=True, killed=True),
        "interrupted",
        "INTERRUPTED",
        75,
    ),
    "fenced": (Exit(76, greeted=True), "fenced", "FAILED", 76),
    "said fenced": (Exit(1, said=76, greeted=True), "fenced", "FAILED", 76),
    "cancelled": (Exit(None, 9, cancelled=True, noticed=True), "cancelled", "CANCELLED", 130),
    "cancelled and interrupted": (Exit(75, said=75, cancelled=True), "cancelled", "CANCELLED", 130),
    "cancelled, unaware, exits 0": (Exit(0, cancelled=True), "cancelled", "CANCELLED", 130),
    "done before it was cancelled": (Exit(0, said=0, cancelled=True), "done", "SUCCEEDED", 0),
    "grace ended": (
        AWARE._replace(signal=9, noticed=True, killed=True),
        "grace-ended",
        "INTERRUPTED",
        75,
    ),
    "unaware, stopped": (Exit(None, 15, noticed=True), "interrupted", "INTERRUPTED", 75),
    "unaware, stopped, says 1": (Exit(1, noticed=True), "interrupted", "INTERRUPTED", 75),
    "greeted, but no handlers yet": (
        Exit(None, 15, greeted=True, noticed=True),
        "interrupted",
        "INTERRUPTED",
        75,
    ),
    "its shell says 143": (
        Exit(143, greeted=True, noticed=True),
        "interrupted",
        "INTERRUPTED",
        75,
    ),
    "killed by others after a notice": (
        AWARE._replace(signal=9, noticed=True),
        "killed",
        "INTERRUPTED",
        75,
    ),
    "crashed while it stopped": (
        AWARE._replace(code=1, noticed=True),
        "crashed",
        "INTERRUPTED",
        75,
    ),
    "crashed before its first step": (Exit(3, greeted=True), "crashed", "FAILED", 3),
    "unaware, crashed": (Exit(3), "crashed", "FAILED", 3),
    "segmentation fault at once": (Exit(None, 11), "crashed", "FAILED", 139),
    "out of memory at once": (Exit(None, 9, starved=True), "crashed", "FAILED", 137),
}


@pytest.mark.parametrize("row", FINAL)
def test_an_end_of_the_job(row: str) -> None:
    end, reason, state, code = FINAL[row]
    found = verdict(end)
    assert (found.reason, found.state, found.code) == (reason, state, code)


def test_what_people_read_where_it_is_promised() -> None:
    assert verdict(Exit(None, 15, noticed=True)).why == "stopped before it could save"
    assert verdict(FINAL["grace ended"][0]).why == "grace-ended"
    assert verdict(Exit(3)).why == "crashed before its first step: exit code 3"
    starved = verdict(Exit(None, 9, starved=True)).why
    assert starved == "crashed before its first step: out of memory (signal 9)"


@pytest.mark.parametrize(
    "end",
    [AWARE._replace(signal=9), AWARE._replace(signal=15), Exit(137), Exit(143)],
    ids=str,
)
def test_a_kill_that_nobody_asked_for_runs_again_ten_times_slower_and_slower(end: Exit) -> None:
    budget, waits = Budget(), []
    found = verdict(end)
    while found.state is None:
        waits.append(found.wait_s)
        budget = found.budget
        found = verdict(end, budget)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (found.state, found.code) == ("FAILED", exit_code(end))
    assert found.why == "killed 10 times in a row without durable progress"


def test_a_kill_after_progress_runs_again_at_once_and_clears_the_budget() -> None:
    found = verdict(AWARE._replace(signal=9, advanced=True), Budget(crashes=2, kills=9))
    assert (found.state, found.wait_s, found.budget) == (None, 0.0, Budget())


def test_a_crash_is_tried_again_while_the_budget_lasts() -> None:
    end = AWARE._replace(code=1)
    first = verdict(end)
    second = verdict(end, first.budget)
    third = verdict(end, second.budget)
    assert [found.state for found in (first, second, third)] == [None, None, "FAILED"]
    assert [found.wait_s for found in (first, second)] == [1, 2]
    assert third.why == "crashed: exit code 1, after 2 retries without durable progress"


def test_progress_renews_the_budget_of_crashes() -> None:
    found = verdict(AWARE._replace(code=1, advanced=True), Budget(crashes=2))
    assert (found.state, found.wait_s, found.budget) == (None, 0.0, Budget(crashes=1))


def test_no_retries_means_none_even_after_progress() -> None:
    end = AWARE._replace(code=1, advanced=True)
    assert decide(end, Budget(), Limits(retries=0, backoff_s=1)).state == "FAILED"


def test_a_wait_never_overflows() -> None:
    end = AWARE._replace(code=1)
    found = decide(end, Budget(crashes=5000), Limits(retries=9999, backoff_s=1))
    assert found.wait_s == 60


def test_a_stop_between_attempts() -> None:
    assert stopped_between(cancelled=True)[2:4] == ("CANCELLED", 130)
    assert stopped_between(cancelled=False)[2:4] == ("INTERRUPTED", 75)
