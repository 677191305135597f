from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.jobs.lifecycle import can_become, status_of
from perdure.model.job import ALIVE, Event, EventValue, JobHeading, JobStatus, State
from perdure.targets.standing import Standing

HEADING = JobHeading(Path("/results"), "brave-otter", "train", (), "2026-01-01")


def events(*told: tuple[str, Mapping[str, EventValue]]) -> list[Event]:
    """Return events a second apart; `started` begins a new attempt."""
    found: list[Event] = []
    attempt = 0
    for at, (name, fields) in enumerate(told):
        attempt += name == "started"
        found.append(Event(max(attempt, 1), float(at), name, fields))
    return found


STARTED: tuple[str, Mapping[str, EventValue]] = (
    "started",
    {"pid": 7, "pgid": 7, "boot": "this", "start_ticks": 5},
)
HELLO = ("hello", {"pid": 7})
FRESH = ("restored", {"step": 0, "generation": None})
STEP = ("step", {"step": 40})
DURABLE = ("durable", {"step": 30})
NOTICE = ("notice", {"reason": "spot", "grace_s": 30.0})
EXITED = ("exited", {"code": 75, "reason": "interrupted"})
WAITING = ("waiting", {"seconds": 4.0, "reason": "crashed"})


def ended(state: str, reason: str = "why") -> tuple[str, Mapping[str, EventValue]]:
    return ("ended", {"state": state, "reason": reason, "code": 0})


def status(*told: object, alive: bool = True, boot: str = "this") -> JobStatus:
    return status_of(HEADING, events(*told), alive, boot=boot)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "alive", "state", "reason"),
    [
        ((), False, State.QUEUED, "not started"),
        ((), True, State.STARTING, ""),
        ((STARTED,), True, State.RUNNING, ""),
        ((("warning", {"text": "x"}),), True, State.STARTING, ""),
        ((STARTED, HELLO, STEP), True, State.RUNNING, ""),
        ((STARTED, HELLO, NOTICE), True, State.STOPPING, "spot"),
        ((STARTED, EXITED, WAITING), True, State.STARTING, "waits 4.0 s: crashed"),
        ((STARTED, STEP), False, State.LOST, "its supervisor is gone"),
        ((STARTED, NOTICE, EXITED, ended("INTERRUPTED")), False, State.INTERRUPTED, "why"),
        ((STARTED, EXITED, ended("SUCCEEDED")), False, State.SUCCEEDED, "why"),
        ((STARTED, EXITED, ended("FAILED")), True, State.FAILED, "why"),
        ((STARTED, ended("CANCELLED")), False, State.CANCELLED, "why"),
        ((STARTED, NOTICE, ended("INTERRUPTED"), STARTED), True, State.RUNNING, ""),
        ((STARTED, ended("FAILED"), STARTED, STEP), False, State.LOST, "its supervisor is gone"),
    ],
)
def test_where_a_job_stands(
    told: tuple[object, ...], alive: bool, state: State, reason: str
) -> None:
    found = status(*told, alive=alive)
    assert (found.state, found.reason) == (state, reason)


def test_a_claim_without_an_event_is_an_attempt_that_begins() -> None:
    before = events(STARTED, ended("INTERRUPTED"))
    found = status_of(HEADING, before, True, claimed=2)
    assert (found.state, found.attempt) == (State.STARTING, 2)
    assert status_of(HEADING, before, False, claimed=2).state is State.LOST
    assert status_of(HEADING, before, False, claimed=1).state is State.INTERRUPTED
    assert status_of(HEADING, [], True, claimed=1).state is State.STARTING
    assert status_of(HEADING, [], False, claimed=1).state is State.LOST


def test_a_machine_that_restarted_is_why_it_is_lost() -> None:
    assert status(STARTED, alive=False, boot="another").reason == "the machine restarted"
    assert status(STARTED, alive=False, boot="").reason == "its supervisor is gone"


def test_a_step_counts_from_where_it_was_restored() -> None:
    found = status(STARTED, HELLO, FRESH, STEP, DURABLE)
    assert (found.step, found.durable_step) == (40, 30)
    again = ("restored", {"step": 30, "generation": 1})
    found = status(STARTED, HELLO, FRESH, STEP, DURABLE, STARTED, HELLO, again)
    assert (found.attempt, found.step, found.durable_step) == (2, 30, 30)
    found = status(STARTED, STEP, DURABLE, STARTED, HELLO, FRESH)
    assert (found.step, found.durable_step) == (0, None)


def test_a_save_that_ends_late_does_not_lower_the_step() -> None:
    assert status(STARTED, STEP, DURABLE).step == 40
    assert status(STARTED, ("durable", {"step": 50})).step == 50


def test_times_and_the_training_that_runs() -> None:
    found = status(STARTED, HELLO, STEP)
    assert (found.started, found.ended, found.last_event_at, found.pid) == (0.0, None, 2.0, 7)
    found = status(STARTED, EXITED, WAITING)
    assert found.pid is None
    found = status(STARTED, EXITED, ended("SUCCEEDED"), alive=False)
    assert (found.ended, found.pid) == (2.0, None)
    assert status(STARTED, alive=False).pid is None


@pytest.mark.parametrize(
    ("told", "began_again"),
    [
        ((STARTED, HELLO, FRESH), False),
        ((STARTED,), False),
        ((STARTED, EXITED, STARTED), True),  # it never said a word: it cannot have gone on
        ((STARTED, HELLO, FRESH, EXITED, STARTED), False),  # not known yet
        ((STARTED, HELLO, FRESH, EXITED, STARTED, HELLO, FRESH), True),
        ((STARTED, HELLO, EXITED, STARTED, ("restored", {"step": 9, "generation": 1})), False),
    ],
)
def test_an_attempt_that_found_nothing_began_again(
    told: tuple[object, ...], began_again: bool
) -> None:
    assert status(*told).began_again is began_again


@pytest.mark.parametrize(
    ("told", "standing", "state", "reason"),
    [
        ((), Standing(True, waits="Priority"), State.QUEUED, "Priority"),
        ((), Standing(True), State.STARTING, ""),
        (
            (),
            Standing(False, ended="Slurm: TIMEOUT"),
            State.LOST,
            "Slurm: TIMEOUT, before it began",
        ),
        ((STARTED, HELLO), Standing(True), State.RUNNING, ""),
        ((STARTED, HELLO), Standing(True, ended="OOMKilled"), State.RUNNING, "after OOMKilled"),
        ((STARTED, HELLO), Standing(True, waits="BeginTime"), State.QUEUED, "BeginTime"),
        ((STARTED, ended("INTERRUPTED")), Standing(True, waits=""), State.QUEUED, ""),
        ((STARTED, ended("FAILED")), Standing(True, waits="Resources"), State.QUEUED, "Resources"),
        (
            (STARTED, HELLO),
            Standing(False, ended="Slurm: NODE_FAIL"),
            State.LOST,
            "Slurm: NODE_FAIL",
        ),
        ((STARTED, ended("FAILED")), Standing(False, ended="Slurm: FAILED"), State.FAILED, ""),
    ],
)
def test_a_scheduler_says_that_it_waits_and_how_it_ended(
    told: tuple[object, ...], standing: Standing, state: State, reason: str
) -> None:
    found = status_of(
        HEADING,
        events(*told),  # type: ignore[arg-type]
        standing.alive,
        claimed=1 if told else 0,
        scheduler=standing,
    )
    assert found.state is state
    assert found.reason.startswith(reason)
    assert found.pid is None or standing.waits is None


NAMES = st.sampled_from(
    [STARTED, HELLO, FRESH, STEP, DURABLE, NOTICE, EXITED, WAITING, ended("FAILED")]
)


@given(st.lists(NAMES, max_size=12))
def test_a_job_that_lives_moves_along_the_table(told: list[tuple[str, dict[str, float]]]) -> None:
    """What a supervisor writes, event by event, never makes a transition that is not in it."""
    before = status()
    for count in range(1, len(told) + 1):
        if before.state is State.FAILED and told[count - 1][0] != "started":
            return  # `ended` is an attempt's last word
        if told[count - 1][0] == "notice" and before.state not in ALIVE:
            return
        after = status(*told[:count])
        if after.state is not before.state and told[count - 1][0] != "started":
            assert can_become(before.state, after.state), (before, after)
        before = after


@given(st.lists(NAMES, min_size=1, max_size=12))
def test_a_supervisor_that_dies_leaves_an_end_or_a_lost_job(
    told: list[tuple[str, dict[str, float]]],
) -> None:
    alive, dead = status(*told), status(*told, alive=False)
    if told[-1][0] == "ended":
        assert dead.state is alive.state is State.FAILED
    else:
        assert dead.state is State.LOST
        assert can_become(alive.state, State.LOST)
