import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.environments.declarations import (
    VARIANT,
    Place,
    listed,
    position,
    with_added,
    with_removed,
    with_replaced,
)
from perdure.environments.wanted import Kind, Wanted, read_wanted
from perdure.errors import UsageError

TEXT = """\
# What this is.
[project]
name = "cats"
dependencies = [
  "numpy>=2.0",  # arrays
  # the models
  "Scikit_Learn>=1.6",
]

[project.optional-dependencies]  # one of them
cpu = [ "torch==2.13.0" ]
cuda = ["torch==2.13.0",
        "triton"]

[dependency-groups]
dev = ["ruff>=0.12", "pytest>=8"] # not in order

[tool.perdure]
format = 1
[tool.perdure.environment.apt]
runtime = ["libgl1"]  # windows
"""
PIP = Place(Kind.PIP)
DEV = Place(Kind.PIP, "dev")
CPU = Place(Kind.PIP, VARIANT + "cpu")
CUDA = Place(Kind.PIP, VARIANT + "cuda")
APT = Place(Kind.APT, "runtime")


def wanted(*words: str, kind: Kind = Kind.PIP) -> list[Wanted]:
    return [read_wanted(kind, word) for word in words]


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.split("\n"), after.split("\n")
    return [line for line in old if line not in new], [line for line in new if line not in old]


@pytest.mark.parametrize(
    ("place", "word", "gone", "come"),
    [
        (PIP, "pandas", [], ['  "pandas",']),
        (PIP, "attrs", [], ['  "attrs",']),
        (PIP, "zarr>=2", [], ['  "zarr>=2",']),
        (CPU, "zarr", ['cpu = [ "torch==2.13.0" ]'], ['cpu = ["torch==2.13.0", "zarr"]']),
        (CPU, "attrs", ['cpu = [ "torch==2.13.0" ]'], ['cpu = ["attrs", "torch==2.13.0"]']),
        (CUDA, "xformers", ['        "triton"]'], ['        "triton",', '        "xformers"]']),
        (
            DEV,
            "black",
            ['dev = ["ruff>=0.12", "pytest>=8"] # not in order'],
            ['dev = ["ruff>=0.12", "pytest>=8", "black"] # not in order'],
        ),
        (
            APT,
            "git",
            ['runtime = ["libgl1"]  # windows'],
            ['runtime = ["git", "libgl1"]  # windows'],
        ),
    ],
)
def test_a_package_comes_where_it_belongs_and_nothing_else_moves(
    place: Place, word: str, gone: list[str], come: list[str]
) -> None:
    after = with_added(TEXT, place, wanted(word, kind=place.kind))
    assert changed_lines(TEXT, after) == (gone, come)
    entries = listed(after, place)
    assert sorted(entries) == sorted([*listed(TEXT, place), word])
    if place in (PIP, CUDA):
        assert with_removed(after, place, [word.partition(">")[0]]) == TEXT


def test_the_order_of_a_list_in_order_is_kept() -> None:
    after = with_added(TEXT, PIP, wanted("pandas", "scipy", "attrs"))
    names = ["attrs", "numpy>=2.0", "pandas", "Scikit_Learn>=1.6", "scipy"]
    assert list(listed(after, PIP)) == names


def test_a_list_that_is_not_there_is_made() -> None:
    for place in (PIP, DEV, CPU, APT):
        after = with_added(
            '[tool.perdure]\nformat = 1\n[project]\nname = "c"\n', place, wanted("x")
        )
        assert listed(after, place) == ("x",)
        assert tomllib.loads(after)["tool"]["perdure"]["format"] == 1


def test_line_ends_of_windows_stay() -> None:
    text = TEXT.replace("\n", "\r\n")
    after = with_added(text, PIP, wanted("pandas"))
    assert with_removed(after, PIP, ["pandas"]) == text
    assert after.count("\n") == after.count("\r\n") == text.count("\n") + 1


def test_a_removed_package_takes_its_line_and_no_comment_of_others() -> None:
    after = with_removed(TEXT, PIP, ["scikit-learn"])
    assert changed_lines(TEXT, after) == (['  "Scikit_Learn>=1.6",'], [])
    assert with_removed(TEXT, CPU, ["torch"]).count("cpu = []") == 1
    assert listed(with_removed(TEXT, PIP, ["numpy", "scikit-learn"]), PIP) == ()


def test_a_source_comes_and_goes_with_its_package() -> None:
    word = "x @ git+https://x.invalid/x@v1"
    after = with_added(TEXT, PIP, wanted(word))
    assert listed(after, PIP)[-1] == "x"
    sources = tomllib.loads(after)["tool"]["uv"]["sources"]
    assert sources == {"x": {"git": "https://x.invalid/x", "rev": "v1"}}
    twice = with_added(after, DEV, wanted("x"))
    assert "x.invalid" in with_removed(twice, PIP, ["x"])
    assert "x.invalid" not in with_removed(with_removed(twice, PIP, ["x"]), DEV, ["x"])


def test_another_text_keeps_the_comment_beside_it() -> None:
    after = with_replaced(TEXT, PIP, {"numpy": "numpy>=2.1", "scikit-learn": "scikit-learn"})
    assert '  "numpy>=2.1",  # arrays\n  # the models\n  "scikit-learn",\n' in after


def test_what_is_no_list_is_named() -> None:
    text = '[project]\ndependencies = "numpy"\n'
    for change in (lambda: listed(text, PIP), lambda: with_added(text, PIP, wanted("x"))):
        with pytest.raises(
            UsageError, match=r"`project.dependencies` in pyproject.toml is no list"
        ):
            change()
    with pytest.raises(UsageError, match=r"`dependency-groups` in pyproject.toml is no table"):
        with_added("dependency-groups = 1\n", DEV, wanted("x"))


def test_groups_that_include_others_are_left_as_they_are() -> None:
    text = '[dependency-groups]\nlint = ["ruff"]\ndev = [{ include-group = "lint" }, "pytest"]\n'
    after = with_added(text, DEV, wanted("zarr", "black"))
    entries = tomllib.loads(after)["dependency-groups"]["dev"]
    assert entries == [{"include-group": "lint"}, "black", "pytest", "zarr"]


NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True), unique=True, max_size=6)


@given(NAMES, st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True))
def test_order_is_kept_where_there_is_one(names: list[str], name: str) -> None:
    at = position(names, name)
    if names == sorted(names):
        assert sorted([*names, name]) == [*names[:at], name, *names[at:]]
    else:
        assert at == len(names)


def test_places_are_named_as_people_type_them() -> None:
    spelled = {place.words for place in (PIP, DEV, CPU, APT, Place(Kind.CONDA))}
    assert spelled == {"", " --dev", " --variant cpu", " --apt runtime", " --conda"}
    assert str(CPU) == "`project.optional-dependencies.cpu`"
