"""What tells two copies of a project apart that lie at the same path of two machines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from perdure.errors import UsageError
from perdure.model.project import Project
from perdure.model.settings import CloudSettings, KubernetesSettings, Settings, TargetSettings
from perdure.model.station import Station
from perdure.project.identity import identity_of, make_state
from perdure.project.settings import load_settings
from perdure.targets.registry import open_target

TARGETS = {
    "k8s": TargetSettings("", "kubernetes", kubernetes=KubernetesSettings("i", "c", context="x")),
    "other": TargetSettings("", "kubernetes", kubernetes=KubernetesSettings("i", "c", context="y")),
    "aws": TargetSettings("", "aws", cloud=CloudSettings(bucket="s3://lab/us", region="eu-west-1")),
}
SETTINGS = Settings(targets=MappingProxyType(TARGETS))


def project(root: Path) -> Project:
    root.mkdir(exist_ok=True)
    return Project(root, "cats", "cats", {})


def folder(of: Project, target: str) -> str:
    found: Any = open_target(target, of, SETTINGS)
    station: Station = found.station
    return station.root.rpartition("/")[2]


def test_it_is_drawn_once_and_kept_hidden_from_git(tmp_path: Path) -> None:
    one = project(tmp_path / "cats")
    with ThreadPoolExecutor(8) as pool:
        (drawn,) = {*pool.map(lambda _: identity_of(one), range(32))}
    assert len(drawn) == 16
    assert (one.state / ".gitignore").read_text() == "*\n"
    assert sorted(each.name for each in one.state.iterdir()) == [".gitignore", "identity"]


def test_where_nothing_can_be_kept_there_is_none(tmp_path: Path) -> None:
    one = project(tmp_path / "cats")
    one.state.write_text("somebody's file")
    assert identity_of(one) == ""
    with pytest.raises(OSError, match="File exists"):
        make_state(one)


@pytest.mark.parametrize("target", ["k8s", "aws"])
def test_people_with_the_same_path_share_no_folder(tmp_path: Path, target: str) -> None:
    root = tmp_path / "cats"
    ada = folder(project(root), target)
    assert folder(project(root), target) == ada
    # Somebody else's machine: the same path, and another copy.
    root.rename(tmp_path / "ada's")
    assert folder(project(root), target) != ada
    # A copy beside it has the identity, and another path.
    (tmp_path / "bobs").mkdir()
    identity = (tmp_path / "ada's" / ".perdure" / "identity").read_text()
    make_state(project(tmp_path / "bobs"))
    (tmp_path / "bobs" / ".perdure" / "identity").write_text(identity)
    assert folder(project(tmp_path / "bobs"), target) != ada


@pytest.mark.parametrize("target", ["k8s", "aws"])
def test_a_folder_that_is_named_is_taken(tmp_path: Path, target: str) -> None:
    text = """
[targets.k8s]
kind = "kubernetes"
context = "x"
image = "i"
results = "c"
folder = "cats-0a1b2c3d"
[targets.aws]
kind = "aws"
region = "eu-west-1"
bucket = "s3://lab/us"
types = ["m5.large"]
folder = "cats-0a1b2c3d"
"""
    one = project(tmp_path / "cats")
    make_state(one)
    local = one.state / "local.toml"
    local.write_text(text)
    found: Any = open_target(target, one, load_settings(one.root))
    assert found.station.root.rpartition("/")[2] == "cats-0a1b2c3d"
    local.write_text(text.replace("cats-0a1b2c3d", "../ada"))
    with pytest.raises(UsageError, match=r"`\.\./ada` is no name of a folder"):
        load_settings(one.root)


def test_what_a_context_is_called_here_is_no_part_of_it(tmp_path: Path) -> None:
    one = project(tmp_path / "cats")
    assert folder(one, "k8s") == folder(one, "other")
