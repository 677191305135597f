import pytest

from perdure.environments.listing import (
    apt_with,
    apt_without,
    conda_names,
    conda_with,
    conda_without,
)
from perdure.environments.wanted import Kind, Wanted, read_wanted
from perdure.errors import UsageError

APT = """\
# Debian packages needed to run the code.

git  # for versions
libgl1=1.6.0-1
# last words
"""
CONDA = """\
# The C side.
name: cats
channels: [conda-forge]
dependencies:   # in order
  - libpng>=1.6
  # this one is large
  - "python=3.11"   # as everywhere
  - pip
  - pip:
      - six
      - numpy
variables:
  - x
"""


def wanted(kind: Kind, *words: str) -> list[Wanted]:
    return [read_wanted(kind, word) for word in words]


def test_apt_packages_come_in_order_and_comments_stay() -> None:
    after = apt_with(APT, wanted(Kind.APT, "less", "build-essential", "zip"))
    assert after == APT.replace("git ", "build-essential\ngit ").replace(
        "libgl1", "less\nlibgl1"
    ).replace("# last", "zip\n# last")
    assert apt_without(after, ["less", "build-essential", "zip"]) == APT


def test_a_list_without_order_grows_at_its_end() -> None:
    assert apt_with("zip\ngit\n", wanted(Kind.APT, "less")) == "zip\ngit\nless\n"
    assert apt_with("", wanted(Kind.APT, "less")) == "less\n"
    assert apt_with("# none yet\r\n", wanted(Kind.APT, "less")) == "# none yet\r\nless\r\n"
    assert apt_with("git", wanted(Kind.APT, "less")) == "git\nless\n"


def test_a_debian_package_with_a_version_is_found_by_its_name() -> None:
    assert "libgl1" not in apt_without(APT, ["libgl1"])
    assert apt_without(APT, ["libgl"]) == APT


def test_condas_packages_are_its_own() -> None:
    assert conda_names(CONDA) == ("libpng>=1.6", "python=3.11", "pip")


def test_condas_packages_come_and_go_and_comments_stay() -> None:
    after = conda_with(CONDA, wanted(Kind.CONDA, "zlib"))
    assert after == CONDA.replace("  - pip\n", "  - pip\n  - zlib\n")
    assert conda_without(after, ["zlib"]) == CONDA
    gone = conda_without(CONDA, ["python"])
    assert gone == CONDA.replace('  - "python=3.11"   # as everywhere\n', "")
    # What stands below `pip:` is pip's.
    assert conda_without(CONDA, ["six", "numpy"]) == CONDA


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_the_indent_of_the_file_is_taken_up(indent: str) -> None:
    text = f"dependencies:\n{indent}- b\nname: cats\n"
    after = conda_with(text, wanted(Kind.CONDA, "a", "c>=1"))
    assert after == f"dependencies:\n{indent}- a\n{indent}- b\n{indent}- c>=1\nname: cats\n"
    assert conda_names(after) == ("a", "b", "c>=1")


def test_an_empty_list_gets_its_first_package() -> None:
    assert conda_with("dependencies:\n", wanted(Kind.CONDA, "a")) == "dependencies:\n  - a\n"


@pytest.mark.parametrize("text", ["", "name: x\n", "dependencies: [a, b]\n", "# dependencies:\n"])
def test_another_shape_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no `dependencies:` with one package a line") as caught:
        conda_with(text, wanted(Kind.CONDA, "a"))
    assert caught.value.hint
