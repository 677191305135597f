from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from perdure.errors import UsageError
from perdure.hosts.host import Host
from perdure.hosts.ssh import Ssh
from perdure.model.settings import TargetSettings
from perdure.model.station import Station
from perdure.targets.place import Place, folder_name, here
from perdure.targets.station import find_station, forget_station, station_file

LOCAL = Path("/home/ada/the 'cats'\n\u00e9")


def test_a_path_in_the_project_has_a_name_there() -> None:
    place = Place(Ssh("gpu1", "gpu1"), "/srv/x", LOCAL)
    assert not place.is_here
    assert place.path(LOCAL) == "/srv/x"
    assert place.path(LOCAL / "results" / "a b") == "/srv/x/results/a b"
    assert place.name(LOCAL / "results" / "a b") == "results/a b"


@pytest.mark.parametrize("path", ["/home/ada", "/home/ada/the 'cats'", "/elsewhere"])
def test_nothing_outside_of_the_project_is_there(path: str) -> None:
    with pytest.raises(UsageError, match="not on `gpu1` either"):
        Place(Ssh("gpu1", "gpu1"), "/srv/x", LOCAL).path(Path(path))


def test_here_a_path_is_itself() -> None:
    place = here(LOCAL)
    assert place.is_here
    assert place.path(LOCAL / "data") == str(LOCAL / "data")


def test_projects_and_hosts_do_not_share_a_folder() -> None:
    names = {
        folder_name(Path("/a/cats"), "gpu1"),
        folder_name(Path("/b/cats"), "gpu1"),
        folder_name(Path("/a/cats"), "gpu2"),
        folder_name(Path("/a/cats"), "ada@gpu1"),
    }
    assert len(names) == 4
    assert all(name.startswith("cats-") and len(name) == 13 for name in names)


class Asked:
    """A host that is asked where a project lies; counts how often."""

    def __init__(self, engine: str = "process") -> None:
        self.times = 0
        self.engine = engine

    def call(self, function: object, base: str, name: str, wanted: str | None) -> dict[str, Any]:
        self.times += 1
        return {"root": f"/home/ada/{base}/{name}", "engine": wanted or self.engine}


def test_where_it_lies_is_asked_once(tmp_path: Path) -> None:
    asked = Asked()
    host = cast(Host, asked)
    wanted = TargetSettings("gpu1", root="p")
    first = find_station("g", tmp_path, wanted, host)
    assert first == Station("gpu1", f"/home/ada/p/{folder_name(tmp_path, 'gpu1')}", "process")
    assert find_station("g", tmp_path, wanted, host) == first
    assert asked.times == 1
    assert find_station("g", tmp_path, TargetSettings("gpu2", root="p"), host) != first
    docker = find_station("g", tmp_path, TargetSettings("gpu2", engine="docker"), host)
    assert docker.engine == "docker"
    assert asked.times == 3
    forget_station(tmp_path, "g")
    forget_station(tmp_path, "g")
    find_station("g", tmp_path, wanted, host)
    assert asked.times == 4


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', "null"])
def test_what_is_remembered_badly_is_asked_again(tmp_path: Path, text: str) -> None:
    file = station_file(tmp_path, "g")
    file.parent.mkdir(parents=True)
    file.write_text(text)
    asked = Asked()
    find_station("g", tmp_path, TargetSettings("gpu1"), cast(Host, asked))
    assert asked.times == 1


def test_nothing_is_written_before_there_is_a_project(tmp_path: Path) -> None:
    find_station("g", tmp_path / "none", TargetSettings("gpu1"), cast(Host, Asked()))
    assert not (tmp_path / "none").exists()
