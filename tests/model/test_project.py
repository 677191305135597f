import dataclasses
from pathlib import Path

import pytest

from perdure.model.project import Environment, Project, Task


def test_a_project_knows_its_folders() -> None:
    project = Project(Path("/p"), "cats", "cats", {"train": Task("train", ("python",))})
    assert project.results == Path("/p/results")
    assert project.state == Path("/p/.perdure")
    assert project.data == Path("/p/data")
    assert project.source == Path("/p/src")


def test_without_a_word_there_is_one_environment() -> None:
    assert Environment().variants == ()
    assert Environment().default_variant is None
    assert not Environment().apt


def test_values_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Task("train", ("python",)).retries = 5  # type: ignore[misc]
