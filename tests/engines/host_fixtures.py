"""Real hosts, started when the first test asks for one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.hosts import STATE, Hosts, Laptop, install, make_laptop, start, stop


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Have the hosts to oneself: another process of the tests may be in the middle of one."""
    with (STATE / "in use").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def sshd() -> None:
    """See to it that this machine has the programs of ssh, and no server that runs."""
    if shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        install()


@pytest.fixture(scope="session")
def _hosts_running() -> Iterator[Hosts]:
    try:
        started = start()
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    yield Hosts()
    if started:
        with _alone():
            stop()


@pytest.fixture
def hosts(_hosts_running: Hosts) -> Iterator[Hosts]:
    """Return the hosts, all with power and network, whatever the test before did to them.

    Until the test ends, no other session of tests has them.
    """
    with _alone():
        _mend(_hosts_running)
        yield _hosts_running
        _mend(_hosts_running)


def _mend(hosts: Hosts) -> None:
    """Give all hosts power and network, and our time."""
    start()
    for ahead in STATE.glob("*/ahead"):
        if ahead.read_text().strip() != "0":
            hosts.clock(ahead.parent.name, 0)


@pytest.fixture
def hosts_here(hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """Return the hosts, which this process's own `ssh gpu1` reaches (as root, or `ada@gpu1`).

    There is also `gpu1-rtt20`, which is gpu1 with a round trip of 20 ms, and `-rtt60`. What keeps
    connections for others ends with the test.
    """
    home = tmp_path / "home of hosts"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").symlink_to(hosts.config())
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{hosts.ssh()}{os.pathsep}{os.environ['PATH']}")
    # Sockets have short names, which a folder of pytest's has not.
    kept = Path(tempfile.mkdtemp(prefix="pt-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(kept))
    yield hosts
    for path in (kept / "perdure").glob("*"):
        if path.is_socket() and path.suffix not in (".l", ".s"):
            words = ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "anyone"]
            subprocess.run(words, capture_output=True, timeout=120)
    shutil.rmtree(kept, ignore_errors=True)


@pytest.fixture
def laptop(hosts: Hosts, user_settings: Path) -> Iterator[Laptop]:
    """Return an ordinary user at the laptop, with a new folder there."""
    made = make_laptop(hosts, user_settings, "ada")
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def root_laptop(hosts: Hosts, user_settings: Path) -> Iterator[Laptop]:
    """Return root at the laptop, with a new folder there."""
    made = make_laptop(hosts, user_settings, "root")
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)
