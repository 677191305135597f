"""A Python of an image for a host that has none."""

from __future__ import annotations

import pytest

from perdure.errors import HostUnreachable, NoPython
from perdure.hosts.side.sockets import find_socket
from perdure.hosts.ssh import Ssh
from perdure.hosts.within import Found, find_socket_plainly, words_of
from tests.engines.hosts import Hosts

VALUES = {
    "user": "1000",
    "group": "100",
    "groups": "100 986 44",
    "name": "ada",
    "home": "/scratch/ada",
    "socket": "/run/docker.sock",
    "writable": "yes",
    "client": "/usr/bin/docker",
    "program": "/usr/libexec/docker/cli",
    "image": "perdure/cats:runtime-0123",
}


def lacking(*names: str) -> Found:
    return Found({name: value for name, value in VALUES.items() if name not in names})


def test_it_is_its_user_with_all_groups_and_folders() -> None:
    tops = ("/etc", "/home", "/scratch", "/srv", "/usr", "/odd:name", "/odd,name")
    words = words_of(Found(VALUES, tops), "gpubox")
    assert words[:4] == ("/usr/bin/docker", "run", "--rm", "--interactive")
    assert "--user=1000:100" in words
    assert [word for word in words if word.startswith("--group-add")] == [
        *("--group-add=986", "--group-add=44")
    ]
    assert [word for word in words if word.startswith("--volume")] == [
        *("--volume=/home:/home", "--volume=/scratch:/scratch", "--volume=/srv:/srv"),
        "--volume=/run/docker.sock:/var/run/docker.sock",
        "--volume=/usr/libexec/docker/cli:/usr/bin/docker:ro",
    ]
    assert words[-2:] == ("--entrypoint=python3", "perdure/cats:runtime-0123")


def test_it_fetches_packages_as_its_host_does() -> None:
    found = Found(VALUES, (), ("/etc/ssl/certs",), ("PIP_INDEX_URL", "https_proxy"))
    words = words_of(found, "gpubox")
    assert "--volume=/etc/ssl/certs:/etc/ssl/certs:ro" in words
    assert {"--env=PIP_INDEX_URL", "--env=https_proxy"} <= {*words}


def test_a_home_that_no_folder_shows_is_shown_itself() -> None:
    found = Found({**VALUES, "home": "/var/lib/ada"}, ("/home",))
    assert "--volume=/var/lib/ada:/var/lib/ada" in words_of(found, "gpubox")


@pytest.mark.parametrize("name", ["socket", "writable", "client"])
def test_without_an_engine_for_the_user_there_is_none(name: str) -> None:
    with pytest.raises(NoPython, match="on `gpubox`, nor Docker for its user") as missing:
        words_of(lacking(name), "gpubox")
    assert missing.value.hint == "install python3 there"


def test_podman_lends_none_and_that_is_told() -> None:
    with pytest.raises(NoPython, match="nor Docker for its user") as missing:
        words_of(Found({"user": "0", "group": "0", "podman": "yes"}), "gpubox")
    assert missing.value.hint == "install python3 there: podman lends none"


def test_without_an_image_one_is_to_be_built() -> None:
    with pytest.raises(NoPython, match="nor an image with one") as missing:
        words_of(lacking("image"), "gpubox")
    assert "perdure build --on gpubox" in str(missing.value.hint)


def test_a_plain_shell_finds_the_same_engine(hosts_here: Hosts) -> None:
    hosts_here.engine("gpu1")
    for who in ("ada@gpu1", "gpu1", "ada@gpu2"):
        host = Ssh("there", who)
        found, plainly = host.call(find_socket), find_socket_plainly(host)
        assert found == plainly
    hosts_here.run("gpu1", "chmod", "600", "/run/docker.sock")
    try:
        assert find_socket_plainly(Ssh("there", "ada@gpu1"))["problem"] == "permission denied"
    finally:
        hosts_here.run("gpu1", "chmod", "660", "/run/docker.sock")


def test_a_host_with_neither_is_told(hosts_here: Hosts) -> None:
    hosts_here.engine("bare", "none")
    with pytest.raises(NoPython, match="nor Docker for its user"):
        Ssh("bare", "ada@bare").call(find_socket)
    with pytest.raises(HostUnreachable):
        find_socket_plainly(Ssh("nowhere", "nowhere"))
