"""The sync between machines that a real network lies between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import StorageError
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_folder import control_folder
from perdure.sync import session
from perdure.sync.channel import boot_words
from perdure.sync.once import Destination, synchronise
from tests.engines.hosts import Hosts, processes
from tests.sync.people import contents
from tests.sync.test_live import WAIT_S, text
from tests.waiting import until

#: After a network is back: ssh notices what was lost, and connects anew.
BACK_S = 60.0


class Over:
    """A project here and its place on gpu1."""

    def __init__(self, folder: Path, there: Path) -> None:
        self.here, self.there, self.state = folder / "here", there, folder / "state"
        self.here.mkdir()
        (self.here / "a.py").write_text("1")
        self.host = Ssh("gpu1", "gpu1")
        self.host.connect()
        self.destination = Destination(self.host.command(boot_words()), str(there))

    def masters(self) -> list[int]:
        """Return the ssh that holds the connection all others share."""
        return processes("[mux]", str(control_folder()))

    def told(self) -> list[str]:
        found = session.status(self.here, "gpu1")
        assert found is not None
        return list(found["told"])


@pytest.fixture
def over(hosts_here: Hosts, tmp_path: Path) -> Iterator[Over]:
    there = hosts_here.place("gpu1") / f"sync-{time.time_ns()}"
    made = Over(tmp_path, there)
    yield made
    session.stop(made.here, "gpu1")
    shutil.rmtree(there, ignore_errors=True)


def test_a_tree_comes_to_a_host(over: Over) -> None:
    for name in ("with space", 'q"uote', "new\nline", "-rf", "ünï", "$(touch x)"):
        (over.here / name).write_text(name)
    synchronise(over.here, over.destination, state=over.state, timeout_s=WAIT_S)
    assert contents(over.there, aside=False) == contents(over.here, aside=False)


#: How long: shorter than a connection lives, and long enough for each to be given up.
AWAY_S = [2, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(300)])]


@pytest.mark.parametrize("away_s", AWAY_S)
def test_a_network_that_was_away_is_caught_up_with(
    over: Over, hosts_here: Hosts, away_s: int
) -> None:
    (over.here / "gone.py").write_text("soon gone")
    session.start(over.here, "gpu1", over.destination, timeout_s=WAIT_S)
    assert session.barrier(over.here, "gpu1", WAIT_S) is True
    hosts_here.cut("gpu1")
    (over.here / "gone.py").unlink()
    # More than a connection takes that nobody reads from.
    (over.here / "large").write_bytes(os.urandom(8 << 20))
    for number in range(away_s * 10):
        (over.here / "a.py").write_text(f"while it was away {number}")
        (over.here / f"new{number % 40}.py").write_text(f"new {number}")
        (over.there / "n.ipynb").write_text(f"there meanwhile {number}")
        time.sleep(0.1)
    assert session.barrier(over.here, "gpu1", 1.0) is False
    assert session.status(over.here, "gpu1") is not None, "it is there for whoever asks"
    hosts_here.mend("gpu1")
    assert session.barrier(over.here, "gpu1", BACK_S) is True, over.told()
    until(lambda: text(over.here / "n.ipynb") == text(over.there / "n.ipynb"))
    assert text(over.here / "n.ipynb") == f"there meanwhile {away_s * 10 - 1}"
    assert contents(over.there, aside=False) == contents(over.here, aside=False)
    assert contents(over.there, aside=True) == contents(over.here, aside=True) == {}


def test_a_connection_that_stands_still_is_not_waited_for(over: Over, hosts_here: Hosts) -> None:
    """As after a change of networks: what is shared takes everything, and nothing arrives."""
    session.start(over.here, "gpu1", over.destination, timeout_s=WAIT_S)
    assert session.barrier(over.here, "gpu1", WAIT_S) is True
    [master] = over.masters()
    os.kill(master, signal.SIGSTOP)
    try:
        (over.here / "a.py").write_text("while it stood still")
        assert session.barrier(over.here, "gpu1", BACK_S) is True
        assert text(over.there / "a.py") == "while it stood still"
        assert any("another one is used" in line for line in over.told())
    finally:
        os.kill(master, signal.SIGCONT)
    (over.here / "a.py").write_text("after it")
    assert session.barrier(over.here, "gpu1", BACK_S) is True
    assert not (over.there / ".perdure/conflicts").exists()


def test_a_host_that_lost_its_power_is_caught_up_with(over: Over, hosts_here: Hosts) -> None:
    session.start(over.here, "gpu1", over.destination, timeout_s=WAIT_S)
    assert session.barrier(over.here, "gpu1", WAIT_S) is True
    hosts_here.kill("gpu1")
    (over.here / "a.py").write_text("while it was down")
    hosts_here.start("gpu1")
    assert session.barrier(over.here, "gpu1", BACK_S) is True
    assert text(over.there / "a.py") == "while it was down"


def test_a_full_disk_there_is_told(over: Over, hosts_here: Hosts) -> None:
    there = hosts_here.small("gpu1") / over.there.name
    destination = Destination(over.destination.argv, str(there))
    for number in range(10):
        (over.here / f"large{number}").write_bytes(b"x" * (9 << 20))
    with pytest.raises(StorageError, match="no space left"):
        synchronise(over.here, destination, state=over.state, timeout_s=WAIT_S)
    assert subprocess.run(["ssh", "gpu1", "cat", there / "a.py"], capture_output=True).stdout == (
        b"1"
    )
    for number in range(2, 10):
        (over.here / f"large{number}").unlink()
    synchronise(over.here, destination, state=over.state, timeout_s=WAIT_S)
    subprocess.run(["ssh", "gpu1", "rm", "-r", there], check=True)


def test_a_clock_an_hour_ahead_there_does_not_matter(over: Over, hosts_here: Hosts) -> None:
    hosts_here.clock("gpu1", 3600)
    synchronise(over.here, over.destination, state=over.state, timeout_s=WAIT_S)
    (over.there / "a.py").write_text("there")
    done = synchronise(over.here, over.destination, state=over.state, timeout_s=WAIT_S)
    assert [each.path for each in done.kept] == ["a.py"]
    done = synchronise(over.here, over.destination, state=over.state, timeout_s=WAIT_S)
    assert (done.sent, done.kept) == (0, ())
