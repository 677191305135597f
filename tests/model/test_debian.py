import pytest

from perdure.model.debian import listed, package_problem


def test_a_list_has_a_package_a_line() -> None:
    assert listed("# for people\ngit\n\n  less  # to read\r\n#vim\n") == ("git", "less")


@pytest.mark.parametrize(
    "name", ["git", "g++", "libstdc++6", "python3.11-venv", "7zip", "git=1:2.39.5-0+deb12u2~1"]
)
def test_a_package_can_be_called_that(name: str) -> None:
    assert package_problem(name) is None


@pytest.mark.parametrize(
    "name", ["", "x", "-y", "a_b", "git=", "git;", "$(x)", "é1", "a\nb", "git:"]
)
def test_a_package_cannot_be_called_that(name: str) -> None:
    assert package_problem(name) is not None


def test_a_capital_letter_is_a_slip() -> None:
    assert "did you mean `libgl1`?" in (package_problem("libGL1") or "")


def test_a_word_that_apt_would_take_for_a_removal_is_refused() -> None:
    assert "take the package away; did you mean `git`?" in (package_problem("git-") or "")
