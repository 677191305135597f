"""What is moved, kept or left out: one table, in both directions."""

from __future__ import annotations

import pytest

from perdure.moving.entry import Entry, Folder, Kind, leads_out
from perdure.moving.known import Seen
from perdure.moving.plan import Plan, Question, Side, make_plan, settle

NEW, OLD, EDITED = (3, 30), (2, 20), (4, 40)


def file(stamp: tuple[int, int] | None) -> Folder:
    return Folder({} if stamp is None else {"x": Entry(Kind.FILE, *stamp)})


def planned(
    source: tuple[int, int] | None,
    target: tuple[int, int] | None,
    known: tuple[int, int] | None,
    *,
    pushing: bool = True,
) -> Plan:
    seen = {"x": Seen(known, known)} if known else {}
    side = Side(pushing=pushing)
    return make_plan(Question(file(source), file(target), seen, side, lambda path: None))


@pytest.mark.parametrize("pushing", [True, False])
@pytest.mark.parametrize(
    ("source", "target", "known", "moved", "kept"),
    [
        (NEW, None, None, True, False),
        (NEW, None, NEW, True, False),
        (NEW, NEW, None, False, False),
        (NEW, OLD, OLD, True, False),
        (NEW, OLD, None, True, True),
        (NEW, EDITED, OLD, True, True),
        (OLD, EDITED, OLD, False, False),
        (None, OLD, OLD, False, False),
    ],
)
def test_the_table(
    source: tuple[int, int] | None,
    target: tuple[int, int] | None,
    known: tuple[int, int] | None,
    moved: bool,
    kept: bool,
    pushing: bool,
) -> None:
    plan = planned(source, target, known, pushing=pushing)
    assert ("x" in plan.files, "x" in plan.displaced) == (moved, kept)
    assert plan.unsure == []


def test_one_size_and_two_times_have_to_be_compared() -> None:
    asked = Question(file((3, 30)), file((3, 31)), {}, Side(pushing=True), lambda path: None)
    plan = make_plan(asked)
    assert (plan.unsure, plan.files) == (["x"], {})
    settle(plan, asked, {"x"})
    assert plan.same == {"x": Seen((3, 30), (3, 31))}
    plan = make_plan(asked)
    settle(plan, asked, ())
    assert (list(plan.files), plan.displaced) == (["x"], ["x"])


def test_what_both_had_with_two_times_is_the_same() -> None:
    seen = {"x": Seen((3, 30), (3, 31))}
    asked = Question(file((3, 30)), file((3, 31)), seen, Side(pushing=True), lambda path: None)
    assert make_plan(asked).skipped == {"x": "unchanged"}


def test_what_is_left_out_with_a_reason_is_told() -> None:
    reasons = {"a": None, "b": "", "c": "because"}
    source = Folder({name: Entry(Kind.FILE, 1, 1) for name in reasons})
    plan = make_plan(Question(source, Folder({}), {}, Side(pushing=True), reasons.__getitem__))
    assert (list(plan.files), plan.skipped) == (["a"], {"c": "because"})


@pytest.mark.parametrize(
    ("path", "target", "out"),
    [
        ("link", "file", False),
        ("a/link", "../file", False),
        ("a/link", "../../file", True),
        ("link", "..", True),
        ("link", "/etc/passwd", True),
        ("link", "a/../../x", True),
        ("a/b/link", "./../c/../../d", False),
    ],
)
def test_a_link_that_leads_out(path: str, target: str, out: bool) -> None:
    assert leads_out(path, target) is out
