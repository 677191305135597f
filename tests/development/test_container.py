"""The words that make a container: the same each time, whatever the project's folder is called."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from perdure.development.container import (
    HOME,
    Host,
    exec_words,
    folder_inside,
    gpu_words,
    hostname,
    run_words,
)
from perdure.development.wishes import NONE, Passed, Wishes, pass_on
from perdure.images.mounts import Mount
from tests.development.values import MADE, project_in

HOSTILE = 'a, "b"  $HOME\'s\n$(x)'


def words_of(root: Path, wishes: Wishes = NONE, passed: Passed | None = None) -> tuple[str, ...]:
    host = Host(project_in(root), root)
    mounts = (Mount(str(root), "/project/code", read_only=False),)
    return run_words(host, MADE, wishes, mounts, passed or Passed())


def after(words: tuple[str, ...], option: str) -> list[str]:
    """Return the values of an option."""
    return [value for word, value in pairwise(words) if word == option]


def test_the_same_words_each_time(tmp_path: Path) -> None:
    assert words_of(tmp_path / HOSTILE) == words_of(tmp_path / HOSTILE)


def test_the_container_says_whose_it_is(tmp_path: Path) -> None:
    root = tmp_path / HOSTILE
    words = words_of(root)
    labels = dict(label.split("=", 1) for label in after(words, "--label"))
    assert labels["perdure.project"] == str(root)
    assert labels["perdure.role"] == "dev"
    assert labels["perdure.image"] == MADE.tag
    (name,) = after(words, "--name")
    assert name.startswith("perdure-")
    assert name.endswith("-dev")
    assert after(words_of(tmp_path / "other"), "--name") != [name]


def test_it_runs_as_the_user_with_a_home_in_the_project(tmp_path: Path) -> None:
    words = words_of(tmp_path)
    assert after(words, "--user") == ["1000:1000"]
    assert f"type=bind,source={tmp_path}/.perdure/home,target={HOME}" in after(words, "--mount")
    assert f"HOME={HOME}" in after(words, "--env")
    assert after(words, "--pull") == ["never"]


def test_shared_memory_is_as_a_jobs(tmp_path: Path) -> None:
    from perdure.targets.container import open_container

    project = project_in(tmp_path)
    assert after(words_of(tmp_path), "--shm-size") == [str(open_container(project).shm_bytes)]


def test_no_word_holds_a_value_that_is_passed_on(tmp_path: Path) -> None:
    wishes = Wishes(variables=("TOKEN",))
    words = words_of(tmp_path, wishes, pass_on(wishes, {"TOKEN": "hunter2"}))
    assert "TOKEN" in after(words, "--env")
    assert not any("hunter2" in word for word in words)


@pytest.mark.parametrize(
    ("kind", "gpus", "words"),
    [
        ("docker", None, ()),
        ("docker", "all", ("--gpus", "all")),
        ("docker", "2", ("--gpus", "2")),
        ("podman", "all", ("--device", "nvidia.com/gpu=all")),
        ("podman", "2", ("--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=1")),
    ],
)
def test_gpus(kind: str, gpus: str | None, words: tuple[str, ...]) -> None:
    assert gpu_words(kind, gpus) == words


def test_podman_without_root_keeps_the_users_ids(tmp_path: Path) -> None:
    host = Host(project_in(tmp_path), tmp_path, "podman", rootless=True)
    words = run_words(host, MADE, NONE, (), Passed())
    assert after(words, "--userns") == ["keep-id"]
    assert "--userns" not in run_words(replace(host, rootless=False), MADE, NONE, (), Passed())


def test_a_command_runs_where_the_user_stands(tmp_path: Path) -> None:
    project = project_in(tmp_path / "cats")
    (project.root / "src" / "cats").mkdir(parents=True)
    (project.data / "inner").mkdir()
    assert folder_inside(project, project.root) == "/project/code"
    assert folder_inside(project, project.root / "src" / "cats") == "/project/code/src/cats"
    assert folder_inside(project, project.data / "inner") == "/project/code/data/inner"
    assert folder_inside(project, tmp_path) == "/project/code"


def test_a_symlinked_data_folder_is_another_place(tmp_path: Path) -> None:
    project = project_in(tmp_path / "cats")
    (tmp_path / "big" / "inner").mkdir(parents=True)
    project.data.rmdir()
    project.data.symlink_to(tmp_path / "big")
    assert folder_inside(project, project.data / "inner") == "/project/data/inner"


def test_a_terminal_and_root_only_where_they_are_asked_for() -> None:
    plain = exec_words("c", ("ls", "-l"), folder="/x y", root=False, terminal=False)
    assert plain == ("exec", "--interactive", "--workdir", "/x y", "c", "ls", "-l")
    full = exec_words("c", (), folder="/x", root=True, terminal=True)
    assert "--tty" in full
    assert after(full, "--user") == ["0:0"]
    assert full[-2:] == ("c", "bash")


@pytest.mark.parametrize(
    ("name", "host"), [("cats", "cats"), ("my.cats_2", "my-cats-2"), ("..", "dev"), ("é", "dev")]
)
def test_a_hosts_name(tmp_path: Path, name: str, host: str) -> None:
    assert hostname(replace(project_in(tmp_path), name=name)) == host
