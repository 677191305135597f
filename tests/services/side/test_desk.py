from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import ConflictError, EnvironmentFailed
from perdure.hosts.side import modules
from perdure.services.program import DEFAULT, SOCKET, Limits, Program, spec_of
from perdure.services.side import desk, record
from tests.waiting import PATIENCE_S, until

SMALL = Path(__file__).with_name("small.py")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[str]:
    """Return a project's folder; services that a test left in it are ended."""
    folder = tmp_path / "a 'project'"
    folder.mkdir()
    yield str(folder)
    desk.stop(str(folder), "small")


def spec(root: str, *words: str, limits: Limits = DEFAULT, **more: object) -> dict[str, Any]:
    argv = (sys.executable, str(SMALL), SOCKET, *words)
    made = spec_of("small", "0a0b0c0d", Program(argv=argv, cwd=root, quiet=("/quiet",)), limits)
    return {**made, "port": 0, "ports": [], **more}


def start(root: str, found: dict[str, Any]) -> dict[str, Any]:
    desk.bring_program(root, modules.digest(), modules.archive())
    return desk.start(root, "small", found, modules.digest())


def get(stands: dict[str, Any], path: str = "/", token: str | None = None) -> str:
    address = f"http://127.0.0.1:{stands['port']}{path}"
    token = stands["token"] if token is None else token
    request = urllib.request.Request(address, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def child(root: str) -> int:
    return int(Path(root, "child").read_text())


def why(root: str) -> str:
    return str(record.read(record.folder_of(root, "small") / record.STATE)["why"])


def test_a_service_is_started_used_found_again_and_stopped(root: str) -> None:
    stands = start(root, spec(root))
    assert (stands["state"], stands["found"]) == ("running", False)
    assert get(stands) == "hello"
    again = start(root, spec(root))
    assert again["found"]
    assert again["token"] == stands["token"]
    (listed,) = desk.look(root)
    assert (listed["name"], listed["port"]) == ("small", stands["port"])
    assert desk.stop(root, "small")
    assert desk.look(root) == []
    assert not desk.stop(root, "small")
    assert not lives(child(root))
    assert why(root) == "stopped"


def test_it_asks_for_its_token_which_is_another_one_each_time(root: str) -> None:
    first = start(root, spec(root))
    for wrong in ("", "x" * 43, first["token"][:-1]):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(first, token=wrong)
    desk.stop(root, "small")
    second = start(root, spec(root))
    assert second["token"] != first["token"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(second, token=first["token"])


def test_the_token_is_this_users_alone_and_in_no_argument_list(root: str) -> None:
    stands = start(root, spec(root))
    folder = record.folder_of(root, "small")
    for name in (record.TOKEN, record.SPEC, record.STATE, record.LOG):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
    assert folder.stat().st_mode & 0o077 == 0
    token = stands["token"].encode()
    get(stands)
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                assert token not in (entry / name).read_bytes(), entry
            except OSError:
                continue
    texts = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
    assert sum(token in text for text in texts) == 1


def test_it_listens_on_the_loopback_and_nowhere_else(root: str) -> None:
    stands = start(root, spec(root))
    lines = (Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()).splitlines()
    # Address and port in hexadecimal, then the peer's, then 0A for who listens (proc(5)).
    sockets = [line.split()[1:4] for line in lines]
    port = f"{stands['port']:04X}"
    listening = [own for own, _, state in sockets if state == "0A" and own.endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


def test_nobody_uses_it_and_it_ends(root: str) -> None:
    start(root, spec(root, limits=Limits(idle_s=0.6)))
    until(lambda: desk.look(root) == [])
    assert why(root) == "nobody used it"
    assert not lives(child(root))


def test_use_puts_its_end_off_and_pages_that_ask_by_themselves_do_not(root: str) -> None:
    stands = start(root, spec(root, limits=Limits(idle_s=3.0)))
    for _ in range(10):
        get(stands)
        time.sleep(0.4)
    assert desk.look(root)

    def gone() -> bool:
        with contextlib.suppress(OSError):
            get(stands, "/quiet")
        return desk.look(root) == []

    until(gone, every_s=0.1)
    assert why(root) == "nobody used it"


def test_its_own_work_puts_its_end_off(root: str) -> None:
    start(root, spec(root, limits=Limits(idle_s=3.0), busy="/busy"))
    time.sleep(5)
    assert desk.look(root)


def test_its_lifetime_ends_it_whatever_it_does(root: str) -> None:
    start(root, spec(root, limits=Limits(idle_s=60, lifetime_s=1.0), busy="/busy"))
    until(lambda: desk.look(root) == [])
    assert why(root) == "its lifetime was over"


def test_a_program_that_takes_no_notice_is_killed(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = start(root, spec(root, "ignore"))
    pid = int(get(stands, "/pid"))
    assert desk.stop(root, "small")
    assert not lives(pid)
    assert not lives(child(root))


def test_what_a_killed_keeper_left_is_ended_by_the_next_look(root: str) -> None:
    stands = start(root, spec(root))
    pid = int(get(stands, "/pid"))
    os.kill(record.read(record.folder_of(root, "small") / record.STATE)["pid"], signal.SIGKILL)
    until(lambda: not record.is_alive(record.folder_of(root, "small")))
    assert desk.look(root) == []
    assert not lives(pid)
    assert not lives(child(root))
    assert why(root) == "its keeper was killed"
    assert not start(root, spec(root))["found"]


def test_who_looks_while_one_is_started_leaves_it_alone(root: str) -> None:
    over = threading.Event()

    def look_on() -> None:
        while not over.is_set():
            desk.look(root)

    looking = threading.Thread(target=look_on)
    looking.start()
    try:
        for _ in range(2):
            assert get(start(root, spec(root))) == "hello"
            assert desk.stop(root, "small")
            assert why(root) == "stopped"
    finally:
        over.set()
        looking.join()


def test_a_program_that_ends_is_noticed(root: str) -> None:
    stands = start(root, spec(root))
    os.kill(int(get(stands, "/pid")), signal.SIGKILL)
    until(lambda: desk.look(root) == [])
    assert why(root) == "it ended by itself (exit code -9)"


def test_a_program_that_does_not_start_says_why(root: str) -> None:
    with pytest.raises(EnvironmentFailed, match="no such flag, or so") as caught:
        start(root, spec(root, "fail"))
    assert "log" in str(caught.value.hint)
    assert not lives(child(root))


def test_a_port_that_is_asked_for_and_in_use_is_an_error(root: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port} is in use"):
            start(root, spec(root, port=port))
        free = start(root, spec(root, ports=[port, port + 1]))
    assert free["port"] not in (0, port)


def test_a_job_that_was_started_in_it_goes_on() -> None:
    from perdure.targets.supervision import without_job

    assert without_job({record.VARIABLE: "x", "A": "b"}) == {"A": "b"}


def test_modules_of_earlier_versions_go_once_nothing_runs(root: str) -> None:
    desk.bring_program(root, "old", b"old")
    start(root, spec(root))
    desk.bring_program(root, "newer", b"newer")
    kept = {path.name for path in Path(root, record.SERVICES).glob("keeper-*.zip")}
    assert kept == {f"keeper-{modules.digest()}.zip", "keeper-newer.zip"}
    desk.stop(root, "small")
    desk.bring_program(root, "newest", b"newest")
    kept = {path.name for path in Path(root, record.SERVICES).glob("keeper-*.zip")}
    assert kept == {"keeper-newest.zip"}
