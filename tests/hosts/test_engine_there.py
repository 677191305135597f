from __future__ import annotations

from collections.abc import Iterator

import pytest

from perdure.errors import EngineUnreachable
from perdure.hosts.engine import find_engine
from perdure.hosts.engine_there import engine_there, settings_there
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_folder import control_folder
from perdure.model.settings import Docker, Settings
from tests.engines.hosts import Hosts


@pytest.fixture
def gpu1(hosts_here: Hosts) -> Iterator[Hosts]:
    hosts_here.engine("gpu1")
    hosts_here.engine("gpu2", "none")
    yield hosts_here
    for socket_file in control_folder().glob("*.l"):
        socket_file.unlink(missing_ok=True)


def test_an_engine_of_another_host_is_used_through_a_socket_of_this_one(
    gpu1: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "of-this-machine")
    there = engine_there(Ssh("gpu1", "ada@gpu1"))
    assert (there.user_id, there.group_id) == (1000, 1000)
    engine = find_engine(settings_there(Settings(), there))
    info = engine.run(["info", "--format", "{{.Name}}"], timeout_s=120)
    assert info.text == "gpu1", info.complaint
    assert engine.inspect_image("debian:bookworm-slim") is not None
    assert engine.inspect_image("no-such-image") is None


def test_a_host_without_an_engine_is_told(gpu1: Hosts) -> None:
    with pytest.raises(EngineUnreachable, match="no container engine on `gpu2`") as missing:
        engine_there(Ssh("gpu2", "gpu2"))
    assert "[targets.gpu2]" in (missing.value.hint or "")


def test_a_user_outside_the_group_docker_is_told(gpu1: Hosts) -> None:
    gpu1.run("gpu1", "chmod", "600", "/run/docker.sock")
    try:
        with pytest.raises(EngineUnreachable, match="permission denied") as refused:
            engine_there(Ssh("gpu1", "ada@gpu1"))
    finally:
        gpu1.run("gpu1", "chmod", "660", "/run/docker.sock")
    assert "usermod -aG docker" in (refused.value.hint or "")


def test_who_is_named_in_the_settings_comes_first() -> None:
    from perdure.hosts.engine_there import EngineThere

    chosen = settings_there(
        Settings(docker=Docker("podman", user_id=7)), EngineThere("unix:///x", 1000, 1001)
    )
    assert chosen.docker == Docker("podman", 7, 1001, "unix:///x")
