import pytest

from perdure.errors import UsageError
from perdure.project.names import Answers, answers_for, check_answers


@pytest.mark.parametrize(
    ("name", "package"),
    [("cats", "cats"), ("My-Cats.2", "my_cats_2"), ("a", "a"), ("x" * 50, "x" * 50)],
)
def test_the_package_is_named_after_the_project(name: str, package: str) -> None:
    assert answers_for(name) == Answers(name, package)


HOSTILE = (
    *("", " ", "a b", "../up", "a/b", "$(x)", "a'b", 'a"b', "a\nb", "été", "-rf", ".hidden", "a_"),
    *("--yes", "a\0b", "x" * 51, "C:\\x", "a;b", "~", "."),
)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_with_one_that_works(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        answers_for(name)
    assert caught.value.hint is not None
    suggestion = caught.value.hint.removeprefix("perdure new ")
    assert answers_for(suggestion).name == suggestion


@pytest.mark.parametrize(
    "name", ["class", "import", "code", "json", "torch", "perdure", "tests", "1st"]
)
def test_a_package_that_would_be_in_the_way_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        answers_for(name)
    assert caught.value.hint is not None
    answers_for(caught.value.hint.removeprefix("perdure new "))


def test_code_breaks_the_debugger() -> None:
    with pytest.raises(UsageError, match="debugger"):
        answers_for("code")


def test_answers_made_by_hand_are_checked() -> None:
    with pytest.raises(UsageError, match="identifier"):
        check_answers(Answers("cats", "../cats"))
    with pytest.raises(UsageError):
        check_answers(Answers("c a t s", "cats"))
