"""What users have in their ssh: jumps, agents, second factors, keys of hosts that change."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.errors import HostUnreachable
from perdure.hosts import question
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_known import known_as
from tests.engines import delay
from tests.engines.hosts import Hosts
from tests.waiting import PATIENCE_S

Configure = Callable[[str], None]


@pytest.fixture
def configure(hosts_here: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Return what puts lines ahead of the configuration of this process's ssh."""
    folder = tmp_path / "own-ssh"
    folder.mkdir()
    config = folder / "config"
    (folder / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{config}" "$@"\n')
    (folder / "ssh").chmod(0o755)

    def write(text: str) -> None:
        config.write_text(text + hosts_here.config().read_text())

    write("")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return write


@contextlib.contextmanager
def used(name: str) -> Iterator[Ssh]:
    host = Ssh(name, name)
    try:
        yield host
    finally:
        host.disconnect()


def test_through_another_host(configure: Configure, hosts: Hosts) -> None:
    address = hosts.address("gpu2")
    entry = f"Host inner\n  HostName {address}\n  HostKeyAlias gpu2\n  ProxyJump ada@gpu1\n"
    configure(entry)
    # ssh starts the jump's by its own name, which has to read the same configuration.
    with used("inner") as host:
        assert host.run(["hostname"], timeout_s=120).text == "gpu2"
        assert host.call(question.answer)


@pytest.mark.long
def test_through_another_host_that_is_away_for_a_while(configure: Configure, hosts: Hosts) -> None:
    address = hosts.address("gpu2")
    configure(f"Host inner\n  HostName {address}\n  HostKeyAlias gpu2\n  ProxyJump ada@gpu1\n")
    with used("inner") as host:
        assert host.run(["hostname"], timeout_s=120).text == "gpu2"
        hosts.cut("gpu1")
        try:
            with pytest.raises(HostUnreachable):
                host.call(question.answer)
        finally:
            hosts.mend("gpu1")
        assert host.call(question.answer)


def test_an_alias_in_an_included_file_whose_name_has_a_space(
    configure: Configure, hosts: Hosts, tmp_path: Path
) -> None:
    (tmp_path / "more of it").write_text(
        f"Host far-one\n  HostName {hosts.address('gpu1')}\n  Port 22\n  User ada\n"
        f'  IdentityFile "{tmp_path / "a key"}"\n'
    )
    shutil.copy(hosts.state / "client" / "id_ed25519", tmp_path / "a key")
    configure(f'Include "{tmp_path / "more of it"}"\n')
    with used("far-one") as host:
        assert host.run(["id", "-un"], timeout_s=120).text == "ada"


def test_a_key_with_a_passphrase_and_an_agent(
    configure: Configure, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    shutil.copy(hosts.state / "client" / "id_ed25519", key)
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "of the tests", "-f", str(key)]
    subprocess.run(change, check=True)
    configure("")
    config = tmp_path / "own-ssh" / "config"
    others = config.read_text().replace(str(hosts.state / "client" / "id_ed25519"), str(key))
    config.write_text(f"Host locked\n  HostName {hosts.address('gpu1')}\n  User ada\n{others}")
    with used("locked") as host:
        with pytest.raises(HostUnreachable, match="does not let this user in"):
            host.call(question.answer)
        path = tmp_path / "a"
        with subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL
        ) as agent:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            while not path.exists():
                time.sleep(0.01)
            ask = tmp_path / "ask"
            ask.write_text("#!/bin/sh\necho of the tests\n")
            ask.chmod(0o755)
            variables = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
            subprocess.run(["ssh-add", "-q", str(key)], check=True, env=variables)
            assert host.call(question.answer)
            agent.kill()


class Terminal:
    """A person at a terminal, before whom a process runs."""

    def __init__(self, script: str) -> None:
        self.shown = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", script])

    def wait_for(self, words: str, within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while words not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, self.shown
            self._read(left)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def end(self) -> str:
        while self._read(PATIENCE_S):
            pass
        os.close(self._fd)
        os.waitpid(self.pid, 0)
        return self.shown

    def _read(self, within_s: float) -> bool:
        if not select.select([self._fd], [], [], within_s)[0]:
            os.kill(self.pid, signal.SIGKILL)
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


ASK = """
from perdure.hosts.ssh import Ssh
from perdure.errors import PerdureError
for name in {names!r}:
    try:
        print("-> " + Ssh(name, name).run(["id", "-un"], timeout_s=120).text)
    except PerdureError as error:
        print("-> " + error.message, error.hint)
"""


def test_a_second_factor_is_asked_for_once_and_serves_all_that_follow(
    hosts_here: Hosts,
) -> None:
    with used("grace@gpu1") as host:
        # Without a terminal nobody is asked: why, is told.
        with pytest.raises(HostUnreachable, match="does not let this user in") as told:
            host.call(question.answer)
        assert "terminal" in (told.value.hint or "")
        person = Terminal(ASK.format(names=["grace@gpu1", "grace@gpu1"]))
        person.wait_for("assword:")
        person.type("tests\n")
        shown = person.end()
        assert shown.count("assword:") == 1
        assert shown.count("-> grace") == 2
        # Another process, without a terminal.
        assert host.run(["id", "-un"], timeout_s=120).text == "grace"
        again = Terminal(ASK.format(names=["grace@gpu1"])).end()
        assert "assword" not in again
        assert "-> grace" in again


def test_a_wrong_password_three_times_is_told(hosts_here: Hosts) -> None:
    person = Terminal(ASK.format(names=["grace@gpu1"]))
    for _ in range(3):
        person.wait_for("assword:")
        person.shown = ""
        person.type("wrong\n")
    assert "-> cannot reach `grace@gpu1`" in person.end()


#: How a host may be reached whose key goes by another name than the host.
NAMED = {
    "alias": ("  HostKeyAlias the-lab\n", "the-lab"),
    "port": ("  Port 2222\n  ProxyCommand {python} {delay} --ms 0 %h 22\n", "[{address}]:2222"),
}


@pytest.mark.parametrize("way", NAMED)
def test_the_hint_for_a_changed_key_removes_that_key(
    configure: Configure, hosts: Hosts, tmp_path: Path, way: str
) -> None:
    words = {"address": hosts.address("gpu1"), "python": sys.executable, "delay": delay.__file__}
    lines, name = (text.format(**words) for text in NAMED[way])
    file = tmp_path / "known by me"
    public = (hosts.state / "gpu2" / "etc" / "ssh" / "ssh_host_ed25519_key.pub").read_text()
    key = " ".join(public.split()[:2])
    file.write_text(f"gpu1 {key}\n{name} {key}\n")
    configure(
        f"Host odd\n  HostName {words['address']}\n{lines}"
        f'  UserKnownHostsFile "{file}"\n  StrictHostKeyChecking yes\n'
    )
    with used("odd") as host, pytest.raises(HostUnreachable) as told:
        host.call(question.answer)
    hint = told.value.hint or ""
    assert known_as("odd") == name
    subprocess.run(shlex.split(hint[hint.index("ssh-keygen") :]), check=True, capture_output=True)
    assert file.read_text() == f"gpu1 {key}\n"


@pytest.mark.parametrize("known", ["another key", "no key"])
def test_the_key_of_a_host_is_always_checked(
    configure: Configure, hosts: Hosts, tmp_path: Path, known: str
) -> None:
    file = tmp_path / "known"
    public = (hosts.state / "gpu2" / "etc" / "ssh" / "ssh_host_ed25519_key.pub").read_text()
    key = " ".join(public.split()[:2])
    file.write_text(f"gpu1,{hosts.address('gpu1')} {key}\n" if known == "another key" else "")
    configure(f"Host gpu1\n  UserKnownHostsFile {file}\n  StrictHostKeyChecking ask\n")
    with used("gpu1") as host, pytest.raises(HostUnreachable) as told:
        host.call(question.answer)
    if known == "another key":
        assert "host key is not the one that is known" in told.value.message
        assert "ssh-keygen -R" in (told.value.hint or "")
        return
    assert "its host key is not known" in told.value.message
    person = Terminal(ASK.format(names=["gpu1"]))
    person.wait_for("(yes/no")
    person.type("no\n")
    assert "-> cannot reach `gpu1`" in person.end()
    assert file.read_text() == ""
    person = Terminal(ASK.format(names=["gpu1"]))
    person.wait_for("(yes/no")
    person.type("yes\n")
    assert "-> root" in person.end()
    assert "ssh-ed25519" in file.read_text()
    Ssh("gpu1", "gpu1").disconnect()
