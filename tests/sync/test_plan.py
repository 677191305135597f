from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.sync.far.tree import Entry
from perdure.sync.plan import (
    ABSENT,
    Action,
    Do,
    Sides,
    collisions,
    decide,
    in_the_way,
    refuse_bulk,
)

ONE, TWO, THREE = (Entry("f", letter * 32, 0o644) for letter in "123")
UNREAD = Entry("f", "", 0o644)
LINK = Entry("l", "1" * 32, 0)

PUSHED = [
    # base, here, there -> what is done, and whether somebody's work is displaced
    (None, None, None, None, False),
    (None, ONE, None, Do.PUT, False),
    (None, ONE, ONE, Do.AGREE, False),
    (None, ONE, TWO, Do.PUT, True),
    (None, None, ONE, None, False),
    (ONE, ONE, ONE, None, False),
    (ONE, TWO, ONE, Do.PUT, False),
    (ONE, TWO, TWO, Do.AGREE, False),
    (ONE, TWO, THREE, Do.PUT, True),
    (ONE, ONE, TWO, Do.PUT, True),
    (ONE, ONE, None, Do.PUT, False),
    (ONE, None, ONE, Do.DELETE, False),
    (ONE, None, TWO, Do.DELETE, True),
    (ONE, None, None, Do.AGREE, False),
    (ONE, UNREAD, ONE, Do.PUT, False),
    (ONE, LINK, ONE, Do.PUT, False),
]
BOTH_WAYS = [
    (None, None, ONE, Do.FETCH, False),
    (None, ONE, None, Do.PUT, False),
    (None, ONE, TWO, Do.PUT, True),
    (ONE, ONE, TWO, Do.FETCH, False),
    (ONE, ONE, None, Do.REMOVE, False),
    (ONE, TWO, None, Do.PUT, False),
    (ONE, TWO, ONE, Do.PUT, False),
    (ONE, TWO, THREE, Do.PUT, True),
    (ONE, None, ONE, Do.DELETE, False),
    (ONE, None, TWO, Do.DELETE, True),
    (ONE, None, None, Do.AGREE, False),
]


@pytest.mark.parametrize(("base", "here", "there", "do", "displaces"), PUSHED)
def test_what_is_pushed_is_as_it_is_here(
    base: Entry | None, here: Entry | None, there: Entry | None, do: Do | None, displaces: bool
) -> None:
    action = decide("a", Sides(base, here, there), (), both_ways=False)
    assert action == (None if do is None else Action(do, "a", displaces=displaces))


@pytest.mark.parametrize(("base", "here", "there", "do", "displaces"), BOTH_WAYS)
def test_what_goes_both_ways_is_taken_from_who_changed_it(
    base: Entry | None, here: Entry | None, there: Entry | None, do: Do | None, displaces: bool
) -> None:
    action = decide("a", Sides(base, here, there), (), both_ways=True)
    assert action == (None if do is None else Action(do, "a", displaces=displaces))


@pytest.mark.parametrize("both_ways", [False, True])
def test_what_was_sent_and_not_answered_is_nobody_elses(both_ways: bool) -> None:
    """After a lost connection: there is either what was there, or what was sent."""
    sides = Sides(ONE, THREE, TWO)
    assert decide("a", sides, [TWO.digest], both_ways=both_ways) == Action(Do.PUT, "a")
    assert decide("a", Sides(None, None, TWO), [TWO.digest], both_ways=both_ways) == Action(
        Do.DELETE, "a"
    )


def test_a_deletion_that_was_sent_and_not_answered_removes_nothing_here() -> None:
    """Deleted here, deleted there, made anew here with the same content; then word was lost."""
    sides = Sides(ONE, ONE, None)
    assert decide("a", sides, [ABSENT], both_ways=True) == Action(Do.PUT, "a")
    assert decide("a", sides, [], both_ways=True) == Action(Do.REMOVE, "a")


def test_permissions_follow_those_here() -> None:
    executable = ONE._replace(mode=0o755)
    assert decide("a", Sides(ONE, executable, ONE), (), both_ways=False) == Action(Do.CHMOD, "a")
    # A file system there that knows no permissions is not asked again and again.
    assert decide("a", Sides(ONE, ONE, executable), (), both_ways=False) is None


ENTRIES = st.sampled_from([None, ONE, TWO, THREE, LINK])


@given(ENTRIES, ENTRIES, ENTRIES, st.sets(st.sampled_from(["1" * 32, "2" * 32, ABSENT])))
def test_nothing_of_somebody_else_is_replaced_unseen(
    base: Entry | None, here: Entry | None, there: Entry | None, ours: set[str]
) -> None:
    for both_ways in (False, True):
        action = decide("a", Sides(base, here, there), ours, both_ways=both_ways)
        replaces = action is not None and action.do in (Do.PUT, Do.DELETE)
        known = {base.digest if base else None, *ours}
        if replaces and there is not None and there.digest not in known:
            assert action is not None
            assert action.displaces


@given(ENTRIES, ENTRIES, ENTRIES)
def test_what_only_one_side_changed_here_is_never_touched_here(
    base: Entry | None, here: Entry | None, there: Entry | None
) -> None:
    """Nothing here is replaced or removed unless it is what both sides had."""
    action = decide("a", Sides(base, here, there), (), both_ways=True)
    if action is not None and action.do in (Do.FETCH, Do.REMOVE):
        assert here == base


def deletions(count: int) -> list[Action]:
    return [Action(Do.DELETE, f"f{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("count", "known", "left", "before", "refused"),
    [
        (1, 1, 5, 0, False),
        (100, 100, 5, 0, False),  # few
        (101, 1000, 899, 0, False),  # few of many
        (101, 150, 49, 0, True),
        (60, 90, 30, 60, True),  # with those of a moment ago
        (60, 900, 30, 60, False),
        (3, 3, 0, 0, True),  # an empty root
    ],
)
def test_deletions_that_look_like_an_accident_are_refused(
    count: int, known: int, left: int, before: int, refused: bool
) -> None:
    actions = [Action(Do.PUT, "kept"), *deletions(count)]
    kept, refusal = refuse_bulk(actions, known=known, left=left, before=before)
    assert (refusal is not None) is refused
    assert kept == (actions[:1] if refused else actions)
    if refusal is not None:
        assert len(refusal.paths) == count


def test_a_file_where_a_folder_was_waits_for_the_deletions_below_it() -> None:
    assert in_the_way(["a/b", "c", "d"], {"a", "c/x"}, folding=False) == {"a/b", "c"}


def test_a_new_spelling_waits_for_the_old_one_where_case_is_folded() -> None:
    assert in_the_way(["A.py"], {"a.py"}, folding=False) == frozenset()
    assert in_the_way(["A.py"], {"a.py"}, folding=True) == {"A.py"}


def test_names_that_are_one_where_case_is_folded() -> None:
    assert collisions(["b", "A.py", "a.py"]) == {"a.py": "A.py"}
