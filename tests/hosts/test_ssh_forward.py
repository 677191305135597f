from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perdure.hosts import local
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_folder import control_folder
from tests.engines.hosts import Hosts
from tests.waiting import until

SERVE = """
import os, socketserver
class Say(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(open("/proc/sys/kernel/hostname", "rb").read())
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): pass
class Port(socketserver.ThreadingMixIn, socketserver.TCPServer): allow_reuse_address = True
import threading
threading.Thread(target=Unix("/run/says: so", Say).serve_forever).start()
server = Port(("127.0.0.1", 8766), Say)
print("ready", flush=True)
server.serve_forever()
"""


@pytest.fixture
def gpu1(hosts_here: Hosts) -> Iterator[Ssh]:
    """Return a host that says its name on a port and on a socket."""
    host = Ssh("gpu1", "gpu1")
    hosts_here.run("gpu1", "rm", "-f", "/run/says: so")
    words = hosts_here.command("gpu1", ["/usr/bin/python3", "-c", SERVE])
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield host
        server.kill()
    host.disconnect()


def said(where: int | Path) -> bytes:
    if isinstance(where, int):
        connection = socket.create_connection(("127.0.0.1", where), 10)
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.fspath(where))
    with connection, connection.makefile("rb") as stream:
        return stream.read()


def test_a_port_is_the_same_while_it_can_be(gpu1: Ssh) -> None:
    port = gpu1.forward(8766)
    assert gpu1.forward(8766) == port
    assert said(port) == b"gpu1\n"
    gpu1.disconnect()
    # The master is another one, and knows of no forward.
    assert gpu1.forward(8766) == port
    assert said(port) == b"gpu1\n"


def test_a_port_that_somebody_else_has_by_now_is_another(gpu1: Ssh) -> None:
    port = gpu1.forward(8766)
    gpu1.disconnect()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        found = gpu1.forward(8766)
        assert found != port
        assert said(found) == b"gpu1\n"


@pytest.mark.parametrize("happens", ["the file is removed", "the master is another", "it is stale"])
def test_a_socket_is_made_again(gpu1: Ssh, happens: str) -> None:
    path = gpu1.forward_socket("/run/says: so")
    assert said(path) == b"gpu1\n"
    if happens == "the file is removed":
        path.unlink()
    else:
        gpu1.disconnect()
    if happens == "it is stale":
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.fspath(path))
    assert gpu1.forward_socket("/run/says: so") == path
    assert said(path) == b"gpu1\n"
    assert path.stat().st_mode & 0o077 == 0


def test_many_that_ask_at_once_have_the_same(gpu1: Ssh) -> None:
    with ThreadPoolExecutor(12) as pool:
        paths = list(pool.map(lambda _: gpu1.forward_socket("/run/says: so"), range(12)))
        ports = list(pool.map(lambda _: gpu1.forward(8766), range(12)))
    assert len(set(paths)) == len(set(ports)) == 1
    assert said(paths[0]) == said(ports[0]) == b"gpu1\n"


def test_what_the_users_configuration_forwards_is_no_hindrance(
    gpu1: Ssh, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "config"
        own = f"Host gpu1\nLocalForward {port} 127.0.0.1:9\nRemoteCommand tmux\nRequestTTY yes\n"
        config.write_text(own + hosts.config().read_text())
        (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert said(gpu1.forward(8766)) == b"gpu1\n"
        assert gpu1.run(["hostname"], timeout_s=120).text == "gpu1"


def test_the_sockets_are_the_users_alone(gpu1: Ssh) -> None:
    gpu1.forward_socket("/run/says: so")
    gpu1.call(os.getpid)

    def sockets() -> list[Path]:
        return [each for each in control_folder().iterdir() if each.is_socket()]

    until(lambda: len(sockets()) == 3)
    assert all(each.stat().st_mode & 0o077 == 0 for each in [*sockets(), control_folder()])
    listening = local.run(["ss", "-ltnH"], timeout_s=120).text
    assert "0.0.0.0:8766" not in listening
