"""The recipes page, done by the letter: on this machine, in a container, by ssh, on two clusters.

Those of clouds are in tests/clouds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.recipes import PAGE, Person, Step, pattern, somebody_new, steps
from tests.engines.engines import RealEngine
from tests.engines.hosts import Hosts
from tests.engines.kubernetes import USER_ID
from tests.engines.kubernetes import Cluster as Pods
from tests.engines.slurm import Cluster

HERE = ("project", "local", "docker", "ssh", "slurm")
CLOUDS = ("aws", "gcp", "azure")


def give(folder: Path) -> None:
    """Have a folder belong to an ordinary user: in containers and pods nobody is root."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER_ID, USER_ID, follow_symlinks=False)


@pytest.mark.install
@pytest.mark.timeout(900)
def test_from_a_touched_file_to_a_cluster(
    tmp_path: Path,
    user_settings: Path,
    old_engine: RealEngine,
    hosts_here: Hosts,
    slurm: Cluster,
) -> None:
    del old_engine, hosts_here, slurm  # this process's variables lead to them
    somebody = somebody_new(tmp_path, user_settings, {'"gpubox"': '"gpu1"'})
    first, *others = HERE
    somebody.follow(first)
    give(somebody.cwd)
    somebody.follow(*others)


@pytest.mark.install
@pytest.mark.timeout(600)
def test_a_cluster_with_kubernetes(
    tmp_path: Path, user_settings: Path, kubernetes: Pods, kubernetes_image: str
) -> None:
    del kubernetes  # this process's variables lead to it
    here = {"registry.example.org/team/walk:1": kubernetes_image}
    somebody = somebody_new(tmp_path, user_settings, here)
    somebody.follow("project")
    give(somebody.cwd)
    somebody.follow("kubernetes")


def test_every_recipe_of_the_page_is_tried() -> None:
    every = list(steps(PAGE.read_text(encoding="utf-8")))
    assert {each.recipe for each in every} == {*HERE, "kubernetes", *CLOUDS}
    # All of them come to the same.
    ends = [line for each in every for line in each.shown if line.startswith("the walk ends at ")]
    assert len(ends) == len([*HERE[1:], "kubernetes", *CLOUDS])
    assert len(set(ends)) == 1


READ = """\
# A page
<!-- recipe: one -->
```toml title="~/a file"
key = 1
```
<!-- varies: 12; 3 s -->
```console
$ perdure ps  # look
JOB   STEP
first   12  3 s
...
$ true
```
<!-- happens: a storm -->
"""


def test_a_page_is_read_as_what_to_do() -> None:
    file, look, nothing, storm = steps(READ)
    assert file == Step("one", 4, file="~/a file", text="key = 1\n")
    assert (look.command, look.varies) == ("perdure ps  # look", ("12", "3 s"))
    assert look.shown == ("JOB   STEP", "first   12  3 s", "...")
    assert (nothing.command, nothing.shown) == ("true", ())
    assert storm.happens == "a storm"


@pytest.mark.parametrize(
    ("said", "is_so"),
    [
        ("JOB STEP\nfirst 7 1 min 2 s\n", True),
        ("JOB      STEP\nfirst       7  4 s\nand more\nof it\n", True),
        ("JOB STEP\nfirst - 4 s\n", False),
        ("JOB STEP\nsecond 7 4 s\n", False),
        ("first 7 4 s\n", False),
        ("JOB STEP\n", False),
    ],
)
def test_what_is_shown_is_compared(said: str, is_so: bool) -> None:
    _, look, _, _ = steps(READ)
    assert bool(pattern(look.shown, look.varies).fullmatch(said)) is is_so


def test_a_command_that_shows_something_else_is_an_error(tmp_path: Path) -> None:
    somebody = Person(tmp_path, tmp_path, os.environ)
    somebody.take(Step("one", 1, command="echo 'as told'", shown=("as told",)))
    with pytest.raises(AssertionError, match="line 1"):
        somebody.take(Step("one", 1, command="echo 'as told'", shown=("otherwise",)))
    with pytest.raises(AssertionError, match="ended with 1"):
        somebody.take(Step("one", 1, command="false"))
