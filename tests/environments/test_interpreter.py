import pytest

from perdure.environments.interpreter import (
    choose_python,
    exact_minor,
    minor_of,
    satisfies,
    unfit,
)
from perdure.model.image import PythonSource


@pytest.mark.parametrize(
    ("version", "declared", "requires"),
    [
        ("3.11.2", None, ""),
        ("3.11.2", "3.11", ""),
        ("3.11.2", "3.11.2", "==3.11.*"),
        ("3.11.2", None, ">=3.11"),
        ("3.11", None, ">=3.11.0"),
        ("3.13.1", None, ">=3.11, <3.14, !=3.12.*"),
        ("3.11.2", None, "~=3.11"),
        ("3.11.9", None, "~=3.11.2"),
        ("3.11.2", None, "===3.11.2"),
        ("3.11.2", None, "<=3.11.2, >3.10"),
    ],
)
def test_a_version_fits(version: str, declared: str | None, requires: str) -> None:
    assert satisfies(version, declared, requires)


@pytest.mark.parametrize(
    ("version", "declared", "requires"),
    [
        ("3.1.2", "3.11", ""),
        ("3.11.2", "3.1", ""),
        ("3.11.2", "3.11.4", ""),
        ("3.11.2", "3.11", ">=3.12"),
        ("3.10.9", None, ">=3.11"),
        ("3.12.1", None, "==3.11.*"),
        ("3.12.1", None, "!=3.12.*"),
        ("4.0", None, "~=3.11"),
        ("3.12.0", None, "~=3.11.2"),
        ("3.11.0", None, ">3.11"),
    ],
)
def test_a_version_does_not_fit(version: str, declared: str | None, requires: str) -> None:
    assert not satisfies(version, declared, requires)


def test_the_bases_own_python_is_best_then_debians_then_uvs() -> None:
    found = choose_python("3.11", "", base="3.11.2", debian="3.11.2", others=["3.11.9"])
    assert found == (PythonSource.BASE, "3.11.2")
    found = choose_python("3.11", "", base=None, debian="3.11.2", others=["3.11.9"])
    assert found == (PythonSource.APT, "3.11.2")
    found = choose_python("3.12", "", base="3.11.2", debian="3.11.2", others=["3.12.9", "3.12.8"])
    assert found == (PythonSource.UV, "3.12.9")
    assert choose_python("3.12", "", base="3.11.2", debian=None) is None


def test_one_python_may_be_all_there_is_to_choose() -> None:
    assert exact_minor(None, "==3.11.*") == 11
    assert exact_minor(None, ">=3.11,<3.12") == 11
    assert exact_minor("3.12", ">=3.11") == 12
    assert exact_minor(None, ">=3.11") is None
    assert minor_of("3") is None


def test_that_none_fits_says_what_was_asked_for() -> None:
    assert '`python = "3.99"` and `requires-python = ">=3.9"`' in unfit("3.99", ">=3.9").message
    assert "no Python fits `requires-python`:" in unfit(None, ">=5").message
