from perdure.environments.compare import Change, compare
from perdure.environments.packages import Packages


def test_what_differs_by_kind_and_name() -> None:
    before = Packages("a", {"x": "1", "y": "1", "z": "1"}, {"git": "1"}, {}, "3.11.2", "deb a")
    after = Packages("b", {"w": "1", "y": "2", "z": "1"}, {"git": "2"}, {}, "3.12.1", "deb b")
    found = compare(before, after)
    assert found.items == (
        Change("python", "python", "3.11.2", "3.12.1"),
        Change("base", "base", "deb a", "deb b"),
        Change("pip", "w", "", "1"),
        Change("pip", "x", "1", ""),
        Change("pip", "y", "1", "2"),
        Change("apt", "git", "1", "2"),
    )
    assert [each.what for each in found.items[2:5]] == ["added", "removed", "changed"]
    assert found.unknown == ()
    assert compare(before, before).items == ()


def test_what_one_side_does_not_know_is_no_difference() -> None:
    known = Packages("a", {}, {"git": "1"}, {}, "3.11.2", None)
    found = compare(Packages("b", {}), known)
    assert found.items == ()
    # No conda on one side: there was none on the other, in all likelihood.
    assert found.unknown == ("python", "apt")
    assert compare(known, Packages("b", {})).unknown == ("python", "apt")
