"""A project as installers know it, read from its pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.project.distribution import Distribution, call, distribution_of

WHOLE = """\
[build-system]
build-backend = "hatchling.build"
[project]
name = "My.Cats"
version = "1.2"
requires-python = "==3.11.*"
dependencies = ["six==1.17.0"]
[project.scripts]
cats-train = "cats.train:main"
[project.gui-scripts]
cats-look = "cats.look:App.run"
[project.entry-points."cats.plugins"]
tabby = "cats.tabby"
"""


def read(text: str, root: Path = Path("/nowhere/cats")) -> Distribution:
    return distribution_of(tomllib.loads(text), root)


def test_all_that_a_table_says() -> None:
    found = read(WHOLE)
    assert (found.name, found.version, found.backend) == ("My.Cats", "1.2", None)
    assert found.requires_python == "==3.11.*"
    assert found.commands() == {"cats-train": "cats.train:main", "cats-look": "cats.look:App.run"}
    assert found.groups["cats.plugins"] == {"tabby": "cats.tabby"}


def test_a_project_that_says_nothing_is_named_by_its_folder() -> None:
    assert read("") == Distribution("cats")
    assert read("[project]\nname = 3\nscripts = 4\ndynamic = 5").commands() == {}


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ('build-backend = "uv_build"', None),
        ('build-backend = "poetry.core.masonry.api"', None),
        ('build-backend = "scikit_build_core.build"', "scikit_build_core.build"),
        ('build-backend = "mesonpy"', "mesonpy"),
        ('build-backend = "hatchling.build"\nbackend-path = ["."]', "hatchling.build"),
        ('[project]\ndynamic = ["version"]', "setuptools.build_meta:__legacy__"),
        ('[project]\ndynamic = ["description"]', None),
        ("[tool.hatch.build.hooks.cython]\nx = 1", "setuptools.build_meta:__legacy__"),
    ],
)
def test_which_backend_has_to_run(text: str, backend: str | None) -> None:
    assert read(f"[build-system]\n{text}").backend == backend


def test_a_setup_py_has_to_run(tmp_path: Path) -> None:
    assert read("[project]", tmp_path).backend is None
    (tmp_path / "setup.py").touch()
    assert read("[project]", tmp_path).backend == "setuptools.build_meta:__legacy__"
    assert read('[build-system]\nbuild-backend = "flit_core.buildapi"', tmp_path).backend is None


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("cats.train:main", ("from cats.train import main", "main()")),
        ("cats : App.run [extra]", ("from cats import App", "App.run()")),
    ],
)
def test_what_a_command_calls(target: str, words: tuple[str, str]) -> None:
    assert call(target) == words


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("../x", "a:b"),
        ("a b", "a:b"),
        ("python3", "a:b"),
        ("$(x)", "a:b"),
        ("", "a:b"),
        ("x", "a"),
        ("x", "a:b()"),
        ("x", "a:b\\nimport os"),
    ],
)
def test_a_command_that_cannot_be_made(name: str, target: str) -> None:
    with pytest.raises(UsageError, match="cannot be made") as caught:
        read(f'[project.scripts]\n"{name}" = "{target}"')
    assert "[project.scripts]" in str(caught.value.hint)
