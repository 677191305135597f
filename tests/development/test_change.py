"""When a container is not the one that is wanted, and what is said of it before anything ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.development.change import MOST_NAMED, Wanted, change_between, ended, question
from perdure.development.contents import MOST_TOLD, differences, from_label, to_label
from perdure.development.leftovers import Leftovers
from perdure.development.standing import Standing, State, commands_in, standing_of
from perdure.development.wishes import NONE, Wishes
from perdure.errors import ConflictError
from tests.development.values import MADE, facts

NOW = {"pip six": "1.17.0"}


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("running", State.RUNNING),
        ("paused", State.PAUSED),
        ("exited", State.STOPPED),
        ("created", State.STOPPED),
        ("dead", State.STOPPED),
    ],
)
def test_the_engines_words(tmp_path: Path, word: str, state: State) -> None:
    found = standing_of(facts(tmp_path, state=word), tmp_path)
    assert found.state is state
    assert found.tag == MADE.tag
    assert found.contents == {"pip six": "1.16.0"}


def test_a_container_of_somebody_elses_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="not this project's"):
        standing_of(facts(tmp_path / "other"), tmp_path)


def test_nothing_changed(tmp_path: Path) -> None:
    standing = standing_of(facts(tmp_path), tmp_path)
    assert change_between(standing, Wanted(MADE.tag, {}, NONE)) is None
    assert change_between(Standing(State.ABSENT), Wanted("x", {}, NONE)) is None


def test_another_image_is_a_change_that_names_what_differs(tmp_path: Path) -> None:
    standing = standing_of(facts(tmp_path), tmp_path)
    change = change_between(standing, Wanted("another", NOW, NONE))
    assert change is not None
    assert "environment has changed" in change.summary
    assert change.details == ("pip six 1.16.0 -> 1.17.0",)


def test_other_options_are_a_change(tmp_path: Path) -> None:
    standing = standing_of(facts(tmp_path, wishes=Wishes(gpus="all")), tmp_path)
    change = change_between(standing, Wanted(MADE.tag, NOW, Wishes(git=True)))
    assert change is not None
    assert change.details == ("then: --gpus all", "now: --git")


def test_differences_of_contents() -> None:
    old = {"apt git": "1", "pip gone": "1", "pip six": "1.16.0"}
    assert differences(old, {**NOW, "apt git": "1", "pip new": "2"}) == (
        "pip gone is gone",
        "pip new 2 is new",
        "pip six 1.16.0 -> 1.17.0",
    )
    assert differences(None, NOW) == ()
    many = differences({}, {f"pip p{number}": "1" for number in range(50)})
    assert len(many) == MOST_TOLD + 1
    assert many[-1] == f"and {50 - MOST_TOLD} more"


def test_contents_survive_their_label() -> None:
    assert from_label(to_label(NOW)) == NOW
    assert to_label({"b": "1", "a": "2"}) == to_label({"a": "2", "b": "1"})
    assert from_label("x") is None
    assert from_label("[]") is None


def test_the_question_names_what_ends_and_what_is_lost() -> None:
    standing = Standing(State.RUNNING)
    asked = question(standing, ("python -m cats.train",), Leftovers(python=("six 1.17.0",)))
    assert asked == (
        "what runs in it ends (`python -m cats.train`); "
        "what was installed by hand is lost (pip: six 1.17.0): rebuild and restart?"
    )
    assert question(Standing(State.STOPPED), (), Leftovers()) == "rebuild and restart?"
    idle = question(standing, (), Leftovers())
    assert idle == "nothing runs in it: rebuild and restart?"


def test_long_and_many_commands_are_cut_short() -> None:
    told = ended(tuple("python " + "x" * 100 for _ in range(MOST_NAMED + 2)))
    assert told.endswith("and 2 more)")
    assert "x" * 50 not in told


def test_what_runs_is_told_without_the_containers_own() -> None:
    listing = (
        "PID   COMMAND\n"
        "  1   /sbin/docker-init -- /bin/sh -c others() {   for place in\n"
        " 17   /bin/sh -c others() {   for place in\n"
        " 19   sleep 86400\n"
        "200   python -m cats.train --epochs 3\n"
    )
    assert commands_in(listing) == ("python -m cats.train --epochs 3",)
    assert commands_in("") == ()
