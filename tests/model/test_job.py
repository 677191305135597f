from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from perdure.model import job as model
from perdure.model.job import ALIVE, ENDED, TRANSITIONS, Event, JobHeading, State


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(isinstance(following, frozenset) for following in TRANSITIONS.values())


def test_what_succeeded_stays_so_and_what_ended_badly_may_be_tried_again() -> None:
    assert TRANSITIONS[State.SUCCEEDED] == frozenset()
    for state in (State.FAILED, State.CANCELLED):
        assert TRANSITIONS[state] == {State.STARTING, State.QUEUED}


def test_whatever_is_alive_may_end_in_any_way_or_be_lost() -> None:
    for state in ALIVE:
        assert ENDED | {State.INTERRUPTED, State.LOST} <= TRANSITIONS[state]


def test_every_state_can_be_reached_from_queued_save_unknown() -> None:
    reached = {State.QUEUED}
    while reached != (wider := reached.union(*(TRANSITIONS[state] for state in reached))):
        reached = wider
    assert reached == set(State) - {State.UNKNOWN}


def test_a_run_folder_is_named_by_its_job() -> None:
    heading = JobHeading(Path("/p/results"), "brave-otter", "train", ("--lr", "1"), "")
    assert heading.folder == Path("/p/results/brave-otter")


def test_an_events_fields_are_read_as_what_is_asked_for() -> None:
    event = Event(1, 0.0, "step", {"step": 3.0, "reason": None, "text": "x", "none": "7"})
    assert event.number("step") == 3
    assert event.number("none") is None
    assert event.number("missing") is None
    assert (event.text("text"), event.text("reason"), event.text("missing")) == ("x", "", "")


def test_values_cannot_be_changed() -> None:
    for kind in vars(model).values():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
            assert "__slots__" in vars(kind), kind
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.Limits(1.0, 2).retries = 3  # type: ignore[misc]
