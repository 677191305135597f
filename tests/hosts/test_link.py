"""The link to a host, through what happens to processes, networks and those who call."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from perdure.errors import HostUnreachable, PerdureError, TimeoutExpired
from perdure.hosts import link, question
from perdure.hosts.side.frames import pack
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_folder import control_folder
from tests.engines.hosts import Hosts
from tests.waiting import PATIENCE_S, until

SLEEP = ["sh", "-c", "echo $$ >&2; exec sleep 300"]


@pytest.fixture
def gpu1(hosts_here: Hosts) -> Iterator[Ssh]:
    host = Ssh("gpu1", "gpu1")
    host.call(os.getpid)
    yield host
    host.disconnect()


def matching(*words: str) -> list[int]:
    """Return the processes whose command line has all these words."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            line = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in line for word in words) and int(each.name) != os.getpid():
            found.append(int(each.name))
    return found


def keepers() -> list[int]:
    return matching("perdure.hosts.link_keeper", str(control_folder()))


def ssh_of_the_link() -> list[int]:
    """Return the ssh that the link speaks through: not the master, not what it goes through."""
    return [pid for pid in matching("python3 -I -c", str(control_folder())) if is_named(pid, "ssh")]


def side(hosts: Hosts) -> list[int]:
    """Return what runs on gpu1, of these hosts and no others, to answer calls."""
    space = pid_space(init_of(hosts))
    return [
        pid
        for pid in matching("python3 -I -c import sys")
        if not is_named(pid, "ssh") and pid_space(pid) == space
    ]


def init_of(hosts: Hosts) -> int:
    return int((hosts.state / "gpu1" / "init").read_text())


def pid_space(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def is_named(pid: int, name: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def session(hosts: Hosts) -> list[int]:
    """Return the sshds of gpu1 that serve somebody."""
    return children_of(init_of(hosts))


def seen_from_here(hosts: Hosts, there: int) -> int:
    """Return what a process of gpu1 is called in this machine's own list."""
    space = pid_space(init_of(hosts))
    for each in Path("/proc").glob("[0-9]*"):
        if pid_space(int(each.name)) != space:
            continue
        try:
            lines = (each / "status").read_text().splitlines()
        except OSError:
            continue
        ids = next(line.split()[1:] for line in lines if line.startswith("NSpid"))
        if int(ids[-1]) == there:
            return int(each.name)
    raise AssertionError(f"there is no process {there} on gpu1")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Asking:
    """A call in the background that lasts, and how it ended."""

    def __init__(self, host: Ssh) -> None:
        self.lines: list[str] = []
        self.error: PerdureError | None = None
        self._thread = threading.Thread(target=self._ask, args=(host,))
        self._thread.start()
        until(lambda: self.lines)
        self.pid = int(self.lines[0])

    def _ask(self, host: Ssh) -> None:
        try:
            host.run(SLEEP, timeout_s=200, on_line=self.lines.append)
        except PerdureError as error:
            self.error = error

    def ended(self) -> PerdureError | None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.error


VICTIMS: dict[str, Callable[[Hosts], list[int]]] = {
    "keeper": lambda _: keepers(),
    "ssh": lambda _: ssh_of_the_link(),
    "side": side,
    "session": session,
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_whatever_is_killed_in_mid_call_is_told_and_the_next_call_works(
    gpu1: Ssh, hosts: Hosts, victim: str
) -> None:
    asking = Asking(gpu1)
    there = seen_from_here(hosts, asking.pid)
    killed = VICTIMS[victim](hosts)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    error = asking.ended()
    assert isinstance(error, HostUnreachable), error
    assert "gpu1" in error.message
    assert gpu1.call(question.answer) == question.answer()
    if victim != "side":
        until(lambda: gone(there))


def test_a_side_that_is_asked_to_end_takes_what_it_runs_along(gpu1: Ssh, hosts: Hosts) -> None:
    asking = Asking(gpu1)
    there = seen_from_here(hosts, asking.pid)
    for pid in side(hosts):
        os.kill(pid, signal.SIGTERM)
    assert isinstance(asking.ended(), HostUnreachable)
    until(lambda: gone(there))


def test_what_one_who_leaves_waited_for_is_stopped(gpu1: Ssh, hosts: Hosts) -> None:
    words = "from perdure.hosts.ssh import Ssh; Ssh('gpu1', 'gpu1').run"
    script = f"{words}({SLEEP}, timeout_s=200, on_line=lambda line: print(line, flush=True))"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        there = seen_from_here(hosts, int(client.stdout.readline()))
        client.kill()
        until(lambda: gone(there))
    assert gpu1.call(question.answer) == question.answer()


def echoed(host: Ssh, number: int) -> str:
    return host.run(["sh", "-c", f"sleep 0.2; echo {number}"], timeout_s=120).text


def test_fifty_at_once_and_two_that_begin_at_the_same_moment(hosts_here: Hosts) -> None:
    host = Ssh("gpu1", "gpu1")
    try:
        with ThreadPoolExecutor(50) as pool:
            begun = list(pool.map(lambda _: host.call(os.getppid), range(50)))
            slow = list(pool.map(partial(echoed, host), range(50)))
        assert slow == [str(number) for number in range(50)]
        assert len(set(begun)) == 1
        assert len(keepers()) == 1
    finally:
        host.disconnect()


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def test_a_large_answer_lets_small_ones_pass_and_fills_no_memory(gpu1: Ssh, hosts: Hosts) -> None:
    [keeper] = keepers()
    size = 300 << 20
    hosts.limit("gpu1", "1gbit")
    passed = 0
    try:
        with ThreadPoolExecutor(1) as pool:
            large = pool.submit(gpu1.run, ["head", "-c", str(size), "/dev/zero"], timeout_s=200)
            time.sleep(1.0)
            while not large.done():
                gpu1.call(os.getpid)
                passed += not large.done()
            assert len(large.result().stdout) == size
    finally:
        hosts.limit("gpu1", "none")
    # One that waited for the large one to be through would be answered after it.
    assert passed
    assert peak_bytes(keeper) < 160 << 20


def test_one_who_does_not_read_keeps_nobody_waiting(gpu1: Ssh) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(os.fspath(link.socket_path(gpu1)))
        given = [["head", "-c", str(20 << 20), "/dev/zero"], 60.0, {}, None, None]
        call = {"function": "perdure.hosts.question:run", "arguments": given, "named": {}}
        silent.sendall(pack({**call, "number": 1, "tells": False}))
        assert select.select([silent], [], [], 120)[0]
        # Whoever waited until that one is read would wait for ever.
        gpu1.call(os.getpid)


@pytest.mark.long
def test_a_network_that_is_cut_in_mid_call(gpu1: Ssh, hosts: Hosts) -> None:
    asking = Asking(gpu1)
    there = seen_from_here(hosts, asking.pid)
    hosts.cut("gpu1")
    try:
        assert isinstance(asking.ended(), HostUnreachable)
        with pytest.raises(HostUnreachable):
            Ssh("gpu1", "gpu1", asks=False).call(question.answer)
    finally:
        hosts.mend("gpu1")
    assert gpu1.call(question.answer) == question.answer()
    # The side there has heard nothing: it ends by the word of its last ping (see test_channel).
    os.kill(there, signal.SIGKILL)


def test_a_call_waits_out_a_short_cut(gpu1: Ssh, hosts: Hosts) -> None:
    hosts.cut("gpu1")
    timer = threading.Timer(4.0, hosts.mend, ["gpu1"])
    timer.start()
    try:
        assert gpu1.call(question.answer) == question.answer()
    finally:
        timer.join()


def test_a_keeper_whose_socket_is_gone_serves_nobody_and_ends(gpu1: Ssh) -> None:
    [keeper] = keepers()
    link.socket_path(gpu1).unlink()
    until(lambda: gone(keeper))
    assert gpu1.call(question.answer) == question.answer()
    assert keeper not in keepers()


def test_the_folder_of_a_project_is_nothing_to_the_keeper(
    hosts_here: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "socket", "perdure"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    host = Ssh("gpu1", "gpu1")
    assert host.call(question.answer) == question.answer()
    host.disconnect()


def test_what_is_printed_there_stops_nothing_and_fills_no_log(gpu1: Ssh) -> None:
    script = "import os; os.write(2, b'x' * 3_000_000)"
    # In the side itself: what it prints goes to its standard error, and so through ssh.
    gpu1.call(exec_there, script)
    assert gpu1.call(question.answer) == question.answer()
    assert sum(each.stat().st_size for each in control_folder().glob("*.log")) < 10_000


def exec_there(script: str) -> None:
    """Stand for `builtins.exec`, which is called there in its place."""


exec_there.__module__, exec_there.__qualname__ = "builtins", "exec"


def test_no_secret_is_in_a_list_of_processes_during_a_call(gpu1: Ssh, hosts: Hosts) -> None:
    secret = "s3cr3t-of-the-tests"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            gpu1.run, ["sh", "-c", "sleep 1.5"], timeout_s=120,
            variables={"TOKEN": secret}, stdin=secret.encode(),
        )  # fmt: skip
        time.sleep(0.7)
        assert matching(secret) == []
        asked.result()


def test_another_process_that_still_connects_is_waited_for_within_a_limit(
    hosts_here: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(link, "_TURN_S", 3.0)
    host = Ssh("gpu1", "gpu1", asks=False)
    with link.socket_path(host).with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(HostUnreachable, match="still connecting"):
            host.call(question.answer)


def test_a_keeper_that_is_stopped_does_not_hold_a_caller_for_ever(gpu1: Ssh) -> None:
    [keeper] = keepers()
    os.kill(keeper, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutExpired):
            link.ask(gpu1, question.answer, (), {}, 0.5)
    finally:
        os.kill(keeper, signal.SIGCONT)


def test_the_log_of_a_link_that_cannot_start_says_why(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("Traceback\nImportError: no\n")
    assert link._why(log, Ssh("a", "a")).hint == "ImportError: no"
    log.write_text(json.dumps({"kind": "NoPython", "message": "m", "hint": None}) + "\n")
    assert type(link._why(log, Ssh("a", "a"))).__name__ == "NoPython"
