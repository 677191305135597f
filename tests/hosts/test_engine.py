"""Engines as they are found, asked and refused; the engines are real."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import (
    EngineUnreachable,
    EnvironmentFailed,
    MissingProgram,
    PerdureError,
    TimeoutExpired,
)
from perdure.hosts import engine_socket
from perdure.hosts.engine import Engine, find_engine
from perdure.hosts.engine_client import can_build, endpoint_of, is_podman
from perdure.hosts.engine_facts import engine_version, image_facts, podman_version
from perdure.model.settings import Docker, Settings
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser

NOTHING = Settings()
BASE = "debian:bookworm-slim"


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Return a socket that is listened at, and its path."""
    path = str(tmp_path / "engine.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()
        yield server, path


def answering(server: socket.socket, answer: bytes) -> threading.Thread:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_an_image_is_described_by_socket_and_by_client_alike(engine: RealEngine) -> None:
    found = find_engine(NOTHING)
    image = found.inspect_image(BASE)
    assert image is not None
    assert image.platform == "linux/amd64"
    assert [layer[:7] for layer in image.layers] == ["sha256:"]
    assert image.id.startswith("sha256:")
    assert image.size > 10_000_000
    assert replace(found, endpoint="").inspect_image(BASE) == image


@pytest.mark.parametrize("name", ["nothing:here", "a/b:c", "nothing@sha256:" + "0" * 64])
def test_what_is_not_there_is_none(engine: RealEngine, name: str) -> None:
    found = find_engine(NOTHING)
    for each in (found, replace(found, endpoint="")):
        assert each.inspect_image(name) is None
        assert each.inspect_container("perdure-no-such-container") is None


def test_a_container_is_described(engine: RealEngine) -> None:
    found = find_engine(NOTHING)
    words = ["run", "-d", "--network=none", "--label", "perdure.test=a b", BASE, "sleep", "60"]
    container = found.run(words, timeout_s=120).text
    try:
        facts = found.inspect_container(container)
        assert facts is not None
        assert replace(found, endpoint="").inspect_container(container) == facts
        assert (facts.id, facts.state, facts.exit_code) == (container, "running", 0)
        assert facts.labels["perdure.test"] == "a b"
        assert facts.pid > 1
        assert facts.started_at[:2] == "20"
        assert not facts.name.startswith("/")
        engine.docker("kill", container)
        ended = found.inspect_container(container)
        assert ended is not None
        assert (ended.state, ended.exit_code, ended.pid) == ("exited", 137, 0)
    finally:
        engine.docker("rm", "-f", container)


def test_the_engines_tell_what_they_are(
    old_engine: RealEngine, modern_engine: RealEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {}
    for real in (old_engine, modern_engine):
        found = find_engine(NOTHING, real.environ)
        told[real.name] = found.version()
        assert replace(found, endpoint="").version() == told[real.name]
        assert found.is_local()
    assert told["old"].server.startswith("20.10")
    assert (told["old"].storage, told["modern"].storage) == ("classic", "containerd")
    assert all(each.buildkit and not each.rootless for each in told.values())
    assert {each.platform for each in told.values()} == {"linux/amd64"}


def test_gpus_are_there_with_nvidias_hook(
    old_engine: RealEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "nvidia-container-runtime-hook", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert find_engine(NOTHING).version().gpus


def test_for_building_a_client_that_can_is_taken(old_engine: RealEngine, tmp_path: Path) -> None:
    unable = program(
        tmp_path / "bin",
        "docker",
        "case $1 in --version) echo 'Docker version 28.2.2';; esac; false",
    )
    environ = {**old_engine.environ, "PATH": f"{unable.parent}:/usr/bin:/bin"}
    assert find_engine(NOTHING, environ).program == str(unable)
    assert find_engine(NOTHING, environ, building=True).program == "/usr/bin/docker"
    with pytest.raises(EnvironmentFailed, match="it has no buildx") as caught:
        find_engine(NOTHING, {**environ, "PATH": str(unable.parent)}, building=True)
    assert "docker-buildx" in str(caught.value.hint)
    assert can_build("/anywhere/podman", environ)


def test_the_chosen_program_is_taken(old_engine: RealEngine, tmp_path: Path) -> None:
    link = tmp_path / "my docker"
    link.symlink_to("/usr/bin/docker")
    chosen = find_engine(Settings(docker=Docker(program=str(link))), building=True)
    assert chosen.program == str(link)
    assert chosen.run(["version"], timeout_s=120).returncode == 0
    for missing in ("no-such-docker", str(tmp_path / "none")):
        with pytest.raises(MissingProgram, match=f"no `{missing}` was found"):
            find_engine(Settings(docker=Docker(program=missing)))


def test_no_client_at_all_names_what_works_without(tmp_path: Path) -> None:
    with pytest.raises(MissingProgram, match="neither `docker` nor `podman` was found") as caught:
        find_engine(NOTHING, {"PATH": str(tmp_path)})
    assert "--on local" in str(caught.value.hint)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("place", ["missing.sock", "file"])
def test_no_daemon_names_what_works_without(
    tmp_path: Path, place: str, old_engine: RealEngine
) -> None:
    (tmp_path / "file").touch()
    address = f"unix://{tmp_path / place}"
    with pytest.raises(EngineUnreachable, match="no container engine answers") as caught:
        find_engine(NOTHING, {**os.environ, "DOCKER_HOST": address})
    assert "--on local" in str(caught.value.hint)
    assert address in caught.value.message
    # The client says the same of an engine that has gone since.
    lost = Engine("/usr/bin/docker", {**os.environ, "DOCKER_HOST": address}, "docker", address)
    with pytest.raises(EngineUnreachable, match="no container engine answers"):
        lost.run(["ps"], timeout_s=120)
    with pytest.raises(EngineUnreachable):
        lost.inspect_image(BASE)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "ssh://nobody@127.0.0.1:9"])
def test_a_remote_engine_that_is_not_there(old_engine: RealEngine, address: str) -> None:
    with pytest.raises(EngineUnreachable) as caught:
        find_engine(NOTHING, {**os.environ, "DOCKER_HOST": address})
    assert address in caught.value.message
    assert "--on local" in str(caught.value.hint)


def test_without_the_group_the_group_is_named(
    old_engine: RealEngine, as_user: OrdinaryUser
) -> None:
    code = (
        "from perdure.hosts.engine import *; from perdure.model.settings import Settings\n"
        "from perdure.errors import EngineUnreachable; import dataclasses, sys\n"
        "try: find_engine(Settings())\n"
        "except EngineUnreachable as error: print(error.message, error.hint)\n"
        "import os; e = Engine('/usr/bin/docker', os.environ, 'docker', '')\n"
        "try: e.run(['ps'], timeout_s=120)\n"
        "except EngineUnreachable as error: print(error.hint)"
    )
    poor = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
    ended = as_user.run(sys.executable, "-c", code)
    assert (ended.code, ended.out) == (0, ""), ended
    if os.getuid() == 0:
        ended = replace(as_user, user_id=0).run(*poor, sys.executable, "-c", code)
        assert ended.out.startswith("no permission to use the container engine at `unix:///run")
        assert ended.out.count("join the group `docker`") == 2, ended


def test_a_context_is_followed(old_engine: RealEngine, tmp_path: Path) -> None:
    environ = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    address = environ.pop("DOCKER_HOST")
    assert endpoint_of("/usr/bin/docker", environ) == "unix:///var/run/docker.sock"
    made = Engine("/usr/bin/docker", environ, "docker")
    words = ["context", "create", "mine", "--docker", f"host={address}"]
    assert made.run(words, timeout_s=120).returncode == 0
    assert endpoint_of("/usr/bin/docker", {**environ, "DOCKER_CONTEXT": "mine"}) == address
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "mine"}))
    assert find_engine(NOTHING, environ).endpoint == address
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "gone"}))
    with pytest.raises(EngineUnreachable, match="gone"):
        find_engine(NOTHING, environ)


def test_podman_is_podman_and_needs_no_socket(tmp_path: Path) -> None:
    info = {"host": {"os": "linux", "arch": "amd64", "security": {"rootless": True}}}
    info["version"] = {"Version": "4.3.1", "APIVersion": "4.3.1"}
    image = json.dumps([{"Id": "f00", "Os": "linux", "Architecture": "amd64", "Size": 3}])
    script = f"case $1 in info) echo '{json.dumps(info)}';; image) echo '{image}';; esac"
    podman = program(tmp_path / "bin", "podman", script)
    environ = {"PATH": f"{podman.parent}:/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}
    chosen = Settings(docker=Docker(program="podman"))
    found = find_engine(chosen, environ)
    assert (found.kind, found.program) == ("podman", str(podman))
    if not found.endpoint:
        assert found.is_local()
        assert found.version() == podman_version(info)
        assert found.version().rootless
        facts = found.inspect_image("x")
        assert facts is not None
        assert (facts.id, facts.size) == ("f00", 3)
    remote = find_engine(chosen, {**environ, "CONTAINER_HOST": "ssh://somewhere"})
    assert (remote.endpoint, remote.is_local()) == ("ssh://somewhere", False)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('[ -e /etc/containers/nodocker ] || echo "Emulate" >&2\nexec /usr/bin/podman "$@"', True),
        ('exec podman "$@"', True),
        ("exec /usr/bin/docker --host=unix:///podman.sock", False),
        ("# podman is elsewhere\nexec /usr/bin/docker", False),
    ],
)
def test_a_docker_that_is_a_script_around_podman(
    tmp_path: Path, script: str, expected: bool
) -> None:
    assert is_podman(str(program(tmp_path / "bin", "docker", script))) is expected


def test_a_docker_that_is_a_link_to_podman(podman_engine: RealEngine) -> None:
    found = find_engine(NOTHING)
    assert (Path(found.program).name, found.kind) == ("docker", "podman")
    assert found.is_local()
    assert found.version().server[0] in "3456789"
    image = found.inspect_image(BASE)
    assert image is not None
    assert [layer[:7] for layer in image.layers] == ["sha256:"]
    assert found.inspect_image("nothing:here") is None
    assert found.inspect_container("perdure-no-such-container") is None
    assert not is_podman("/nonexistent/docker")


def test_an_engine_that_hangs_is_given_up(
    listener: tuple[socket.socket, str],
) -> None:
    _, path = listener
    with pytest.raises(TimeoutExpired, match=r"did not answer within 0\.2 s") as caught:
        engine_socket.ask(path, "/version", timeout_s=0.2)
    assert "--on local" in str(caught.value.hint)


def test_an_engine_that_dies_while_it_is_asked(listener: tuple[socket.socket, str]) -> None:
    server, path = listener
    thread = answering(server, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    with pytest.raises(EngineUnreachable, match="went away"):
        engine_socket.ask(path, "/version", timeout_s=60)
    thread.join(60)


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 500 No\r\nContent-Length: 21\r\n\r\n{"message":"oh dear"}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\noh dear",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"oh dear"',
    ],
)
def test_an_answer_that_is_none_is_told(listener: tuple[socket.socket, str], answer: bytes) -> None:
    server, path = listener
    thread = answering(server, answer)
    with pytest.raises(PerdureError, match=r"refused `GET /x`.*oh dear"):
        engine_socket.ask(path, "/x", timeout_s=60)
    thread.join(60)


def test_a_client_that_fails_for_another_reason_is_quoted(tmp_path: Path) -> None:
    client = program(tmp_path / "bin", "docker", "echo 'disk on fire' >&2; exit 3")
    broken = Engine(str(client), dict(os.environ), "docker")
    with pytest.raises(PerdureError, match="disk on fire"):
        broken.inspect_image("x")


def test_documents_that_lack_much_are_still_facts() -> None:
    facts = image_facts({"Id": "x", "Config": None, "RepoDigests": None, "RootFS": {}})
    assert (facts.layers, facts.labels, facts.size) == ((), {}, 0)
    nothing = engine_version({}, {}, podman=False)
    assert (nothing.buildkit, nothing.gpus, nothing.storage) == (False, False, "classic")
    cdi = engine_version({}, {"DiscoveredDevices": [{"ID": "nvidia.com/gpu=0"}]}, podman=False)
    assert cdi.gpus


def test_the_client_can_have_the_terminal(
    old_engine: RealEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    assert find_engine(NOTHING).attached(["version", "--format", "{{.Server.Os}}"]) == 0
    assert capfd.readouterr().out == "linux\n"
