from __future__ import annotations

import pytest

from perdure.errors import NewerFormatError, UsageError
from perdure.jobs.find import find_job
from perdure.jobs.workspace import Workspace
from tests.jobs.projects import submitted


@pytest.fixture
def three(workspace: Workspace) -> Workspace:
    for name in ("brave-otter", "brave-owl", "brave"):
        submitted(workspace, "1", name=name)
    return workspace


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("brave-otter", "brave-otter"),
        ("brave-ot", "brave-otter"),
        ("brave-ow", "brave-owl"),
        ("brave", "brave"),  # a whole name is meant, though others begin with it
        ("@last", "brave"),
    ],
)
def test_a_job_by_what_is_typed(three: Workspace, text: str, job: str) -> None:
    assert find_job(three, text).job == job


def test_a_beginning_of_several_lists_them(three: Workspace) -> None:
    with pytest.raises(UsageError, match="`brave-o` means 2 jobs: brave-otter, brave-owl"):
        find_job(three, "brave-o")


@pytest.mark.parametrize(
    "text", ["", "otter", "../results/brave", "brave/", "*", "$(x)", "\0", "."]
)
def test_what_names_no_job(three: Workspace, text: str) -> None:
    (three.project.results / ".trash-1").mkdir()
    with pytest.raises(UsageError, match="there is no job"):
        find_job(three, text)


def test_a_mistyped_name_is_guessed(three: Workspace) -> None:
    with pytest.raises(UsageError) as caught:
        find_job(three, "brvae-otter")
    assert caught.value.hint == "did you mean `brave-otter`?"


def test_before_the_first_job(workspace: Workspace) -> None:
    for text in ("@last", "brave"):
        with pytest.raises(UsageError):
            find_job(workspace, text)


def test_a_folder_that_is_no_job_is_not_found(three: Workspace) -> None:
    (three.project.results / "plots").mkdir()
    with pytest.raises(UsageError, match="there is no job `plots`"):
        find_job(three, "plots")


def test_a_newer_job_is_found_and_refused(three: Workspace) -> None:
    (three.project.results / "brave-owl" / "job.json").write_text('{"format": 2}')
    with pytest.raises(NewerFormatError):
        find_job(three, "brave-owl")
    assert find_job(three, "@last").job == "brave"
