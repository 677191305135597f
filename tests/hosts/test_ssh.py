from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import HostUnreachable, MissingProgram, TimeoutExpired
from perdure.hosts import link, local, question
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_folder import control_folder
from tests.engines.hosts import Hosts

HOSTILE = ["a b", "it's", '"', "$(touch x)", "`x`", "new\nline", "-n", "ü\u2028", "\\", "*", ""]


@pytest.fixture
def gpu1(hosts_here: Hosts) -> Iterator[Ssh]:
    yield Ssh("gpu1", "gpu1")
    for socket_file in control_folder().glob("*.l"):
        socket_file.unlink(missing_ok=True)
    local.run(["ssh", *Ssh("gpu1", "gpu1").options(), "-O", "exit", "gpu1"], timeout_s=120)


def test_words_arrive_as_they_are(gpu1: Ssh) -> None:
    words = ["printf", r"[%s]\n", *HOSTILE]
    wanted = "".join(f"[{word}]\n" for word in HOSTILE).encode()
    assert gpu1.run(words, timeout_s=120).stdout == wanted
    assert gpu1.run_plainly(words, 20, {}, None, None).stdout == wanted
    assert local.run(gpu1.command(words), timeout_s=120).stdout == wanted


@pytest.mark.parametrize("way", ["by the side", "plainly"])
def test_variables_input_and_folder_arrive_too(gpu1: Ssh, way: str) -> None:
    argv = ["sh", "-c", 'pwd; printf "%s|" "$A" "$B"; cat; echo told >&2; exit 5']
    variables = {"A": "it's\n$(x)", "B": "ü"}
    lines: list[str] = []
    if way == "plainly":
        done = gpu1.run_plainly(argv, 20, variables, "/srv", b"\x00in\n", lines.append)
    else:
        done = gpu1.run(
            argv, timeout_s=120, variables=variables, cwd="/srv", stdin=b"\x00in\n",
            on_line=lines.append,
        )  # fmt: skip
    assert done.stdout == "/srv\nit's\n$(x)|ü|".encode() + b"\x00in\n"
    assert (done.returncode, lines) == (5, ["told"])


def test_a_secret_shows_in_no_list_of_processes(gpu1: Ssh, hosts: Hosts) -> None:
    look = "ps axww -o args | grep -c 'pass[w]ord-in-clear' || true"
    for found in (
        gpu1.run(["sh", "-c", look], timeout_s=120, variables={"S": "password-in-clear"}),
        gpu1.run_plainly(["sh", "-c", look], 20, {"S": "password-in-clear"}, None, None),
    ):
        assert found.text == "0"
    path = gpu1.call(question.leave_script, question.script(["true"], {"S": "x"}, "~"))
    mode = gpu1.run(["stat", "-c", "%a", path], timeout_s=120)
    assert mode.text == "600"
    assert gpu1.run(["sh", path], timeout_s=120).returncode == 0
    assert gpu1.run(["test", "-e", path], timeout_s=120).returncode == 1


def test_a_command_that_is_not_there_or_takes_too_long(gpu1: Ssh) -> None:
    with pytest.raises(MissingProgram, match="no program `no-such`"):
        gpu1.run(["no-such"], timeout_s=120)
    with pytest.raises(TimeoutExpired):
        gpu1.run(["sleep", "60"], timeout_s=0.3)


def test_a_host_says_what_it_is(gpu1: Ssh) -> None:
    facts = gpu1.probe()
    assert facts.user == "root"
    assert facts.home == "/root"
    assert facts.disk_free_bytes > 0
    assert abs(facts.clock_ahead_s) < 60


def test_one_connection_serves_many_processes_and_comes_back_after_it_was_killed(
    gpu1: Ssh,
) -> None:
    first = gpu1.call(os.getppid)
    assert gpu1.call(os.getppid) == first
    keepers = subprocess.run(
        ["pgrep", "-f", str(link.socket_path(gpu1))], capture_output=True, text=True
    ).stdout.split()
    assert keepers
    for pid in keepers:
        os.kill(int(pid), signal.SIGKILL)
    while Path(f"/proc/{keepers[0]}").exists():
        time.sleep(0.01)
    assert isinstance(gpu1.call(os.getppid), int)


def test_the_socket_of_a_connection_is_the_users_alone(gpu1: Ssh) -> None:
    gpu1.call(os.getpid)
    path = link.socket_path(gpu1)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_lost_connection_is_told_and_the_next_call_makes_another(gpu1: Ssh, hosts: Hosts) -> None:
    gpu1.call(os.getpid)
    hosts.kill("gpu1")
    with pytest.raises(HostUnreachable):
        gpu1.call(os.getpid)
    hosts.start("gpu1")
    assert gpu1.run(["hostname"], timeout_s=120).text == "gpu1"


def test_who_is_not_known_is_not_reached(hosts_here: Hosts) -> None:
    with pytest.raises(HostUnreachable, match="there is no host of that name") as unknown:
        Ssh("big", "gpu11").call(os.getpid)
    assert unknown.value.hint == "did you mean `gpu1`?"
    with pytest.raises(HostUnreachable, match="does not let this user in"):
        Ssh("big", "nobody@gpu1").call(os.getpid)


def test_a_port_and_a_socket_are_forwarded(gpu1: Ssh, hosts: Hosts) -> None:
    serve = (
        "import http.server, os; os.chdir('/proc/sys/kernel'); "
        "http.server.HTTPServer(('127.0.0.1', 8765), http.server.SimpleHTTPRequestHandler)"
        ".serve_forever()"
    )
    with subprocess.Popen(
        hosts.command("gpu1", ["python3", "-c", serve]), stderr=subprocess.DEVNULL
    ) as server:
        try:
            port = gpu1.forward(8765)
            text = b""
            for _ in range(100):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
                    text = connection.makefile("rb").read()
                if text.endswith(b"gpu1\n"):
                    break
                time.sleep(0.05)
        finally:
            server.kill()
    assert text.endswith(b"gpu1\n")
    hosts.engine("gpu1")
    path = gpu1.forward_socket("/run/docker.sock")
    assert gpu1.forward_socket("/run/docker.sock") == path
    with socket.socket(socket.AF_UNIX) as engine:
        engine.connect(os.fspath(path))
        engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        assert b"OK" in engine.makefile("rb").read()


def test_a_host_without_python_still_runs_commands(hosts_here: Hosts) -> None:
    bare = Ssh("bare", "bare")
    assert bare.run(
        ["sh", "-c", "echo $A; hostname"], timeout_s=120, variables={"A": "1"}
    ).text == ("1\nbare")


def test_the_command_of_a_host_is_one_line_for_its_shell() -> None:
    *ssh, line = Ssh("gpu", "ada@gpu").command(["a b", "$x"])
    assert shlex.split(line) == ["exec", "a b", "$x"]
    assert ssh[-2:] == ["--", "ada@gpu"]
    assert "StrictHostKeyChecking" not in " ".join(ssh)
