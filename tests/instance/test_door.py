"""A machine's door: a real sshd, and real visitors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perdure.clouds import submission, visiting
from perdure.clouds.opening import open_folder
from perdure.clouds.side import door, keys
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.door import Visit
from perdure.clouds.side.lease import Lease
from perdure.clouds.side.order import Order
from perdure.errors import (
    ConflictError,
    EnvironmentFailed,
    HostUnreachable,
    StorageError,
    UsageError,
)
from perdure.instance.door import Doorkeeper
from perdure.model.job_values import job_values
from perdure.moving.address import Address
from perdure.targets.far import PROCESS
from tests.ports import free_port
from tests.targets.test_kubernetes_manifest import record_of
from tests.waiting import until

JOB = "otter"


@dataclass
class Machine:
    """A machine that has a job, and looks after its door as long as it does."""

    bucket: Bucket
    keeper: Doorkeeper
    over: threading.Event = field(default_factory=threading.Event)

    def mind(self) -> None:
        while not self.over.wait(0.05):
            self.keeper.mind()

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.keeper.port)) == 0


def order(has_door: bool) -> bytes:
    return Order(1, {}, {}, 0, None, 5, (), door=has_door).text().encode()


@pytest.fixture
def machine(tmp_path: Path, sshd: None) -> Iterator[Machine]:
    bucket = open_folder(Address("file", "", str(tmp_path / "bucket")))
    submission.begin(bucket, JOB, order(has_door=True))
    Lease(bucket, JOB, "i-1").take("")
    project = tmp_path / "the project"
    run_dir = project / "results" / JOB
    run_dir.mkdir(parents=True)
    (project / ".perdure/snapshots/abc").mkdir(parents=True)
    job = {**job_values(record_of()), "results": str(run_dir.parent), "job": JOB}
    there = {"root": str(project), "engine": PROCESS, "name": "", "settings": {}, "supervisor": ""}
    inside = {"there": there, "job": job, "commands": {}}
    folder = tmp_path / "a door, 100% 'of' $HOME"
    keeper = Doorkeeper(bucket, JOB, folder, lambda: "127.0.0.1", inside, free_port())
    made = Machine(bucket, keeper)
    minding = threading.Thread(target=made.mind)
    minding.start()
    yield made
    made.over.set()
    minding.join()
    keeper.close()


def test_a_visitor_finds_what_the_job_finds(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/opt/more")
    words = ("AWS_REGION", "PATH", "FOO")
    code = f"import os; print(*map(os.environ.get, {words}), sep='|')"
    assert visit(machine, "python3", "-c", code) == 0
    region, path, variable = capfd.readouterr().out[:-1].split("|")
    assert (region, variable) == ("eu-central-1", "$(HOME) 'x'\n")
    assert path.endswith(":/opt/more")


def visit(machine: Machine, *argv: str) -> int:
    return visiting.visit(machine.bucket, "aws", JOB, argv)


def test_nothing_listens_but_for_visitors(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    until(lambda: not machine.listens())
    words = ("a b", "'$HOME\"", "é\n", "")
    code = "import os, sys; print(os.getcwd(), sys.argv[1:], 'SSH_ORIGINAL_COMMAND' in os.environ)"
    assert visit(machine, "python3", "-c", code, *words) == 0
    where = Path(machine.keeper.inside["there"]["root"], ".perdure/snapshots/abc")
    assert capfd.readouterr().out == f"{where} {list(words)} False\n"
    until(lambda: not machine.listens())
    assert door.visits(machine.bucket, JOB) == []
    # The next one has a key of its own.
    assert visit(machine, "sh", "-c", "exit 7") == 7
    assert visit(machine, "no-such-command") == 127
    assert "no-such-command" in capfd.readouterr().err


def test_two_visit_at_a_time_and_each_leaves_for_itself(machine: Machine, tmp_path: Path) -> None:
    first = threading.Thread(
        target=visit,
        args=[machine, "sh", "-c", 'until [ -e "$0" ]; do sleep 0.05; done', f"{tmp_path}/go"],
    )
    first.start()
    until(lambda: len(door.visits(machine.bucket, JOB)) == 1)
    assert visit(machine, "true") == 0
    assert first.is_alive()
    assert len(door.visits(machine.bucket, JOB)) == 1
    (tmp_path / "go").touch()
    first.join()
    until(lambda: not machine.listens())


# `perdure attach`, but for what finds the job and its target.
_VISITOR = """\
import argparse, sys
from types import SimpleNamespace
from perdure.cli.commands import attach as verb
from perdure.cli.render import open_console
from perdure.clouds import visiting
from perdure.clouds.opening import open_folder
from perdure.jobs import attach, find, workspace
from perdure.moving.address import Address
folder, job, *argv = sys.argv[1:]
bucket = open_folder(Address("file", "", folder))
workspace.open_workspace = lambda _: None
find.find_job = lambda _, job: SimpleNamespace(job=job)
attach.attach = lambda _, record, argv, say: visiting.visit(bucket, "aws", record.job, argv)
verb.execute(argparse.Namespace(job=job, rest=argv), open_console(verbose=False))
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_who_is_ended_leaves_no_key_anywhere(
    machine: Machine, tmp_path: Path, number: signal.Signals
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    # As a terminal that is closed has it: those of its session are told, and some of them twice.
    stay = 'touch "$0/in"; until [ -e "$0/out" ]; do sleep 0.1; done'
    words = (str(tmp_path / "bucket"), JOB, "sh", "-c", stay, str(kept))
    visitor = subprocess.Popen(
        [sys.executable, "-c", _VISITOR, *words],
        env={**os.environ, "TMPDIR": str(kept)},
        start_new_session=True,
    )
    until((kept / "in").exists)
    os.killpg(visitor.pid, number)
    while visitor.poll() is None:
        time.sleep(0.01)
        if number != signal.SIGINT:
            os.killpg(visitor.pid, number)
    # Without a terminal a command does not end with its ssh.
    (kept / "out").touch()
    assert sorted(each.name for each in kept.iterdir()) == ["in", "out"]
    assert door.visits(machine.bucket, JOB) == []
    until(lambda: not machine.listens())


def asked(machine: Machine, folder: Path, key: str) -> door.Door:
    """Return what the machine answers to a visit with that key."""
    name = str(time.monotonic_ns())
    door.ask(machine.bucket, JOB, Visit(name, key, time.time()))

    def answer() -> bool:
        found = door.answered(machine.bucket, JOB)
        return found is not None and name in found.visits

    until(answer)
    found = door.answered(machine.bucket, JOB)
    assert found is not None
    return found


def ssh(words: tuple[str, ...]) -> tuple[int, str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_a_key_lets_in_for_one_visit_and_for_one_thing(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "visitor"
    folder.mkdir()
    key = visiting._key(folder)
    found = asked(machine, folder, key)
    words = visiting.command(folder, found, ["true"])
    # The user's own configuration might give the key to an agent, say.
    assert words[:3] == ("ssh", "-F", "/dev/null")
    assert ssh(words) == (0, "")
    # Nobody else's, no file, no port, and no machine but this one.
    other = tmp_path / "other"
    other.mkdir()
    visiting._key(other)
    assert "Permission denied" in ssh(visiting.command(other, found, ["true"]))[1]
    at = words.index("--")
    for more in (("-s", *words[at:-1], "sftp"), (*words[at:-1], "id")):
        assert ssh((*words[:at], *more))[0] != 0
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        way = f"127.0.0.1:{busy.getsockname()[1]}"
        assert ssh((*words[:at], "-o", "ClearAllForwardings=no", "-W", way, *words[at:-1]))[0] != 0
    door.leave(machine.bucket, JOB, door.visits(machine.bucket, JOB)[0].name)
    until(lambda: not machine.listens())
    again = asked(machine, folder, "ssh-ed25519 " + "A" * 68)
    assert "Permission denied" in ssh(visiting.command(folder, again, ["true"]))[1]


def test_another_machine_at_its_address_is_not_taken_for_it(
    machine: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "visitor"
    folder.mkdir()
    found = asked(machine, folder, visiting._key(folder))
    strange = (folder / "key.pub").read_text().strip()
    code, said = ssh(visiting.command(folder, found._replace(host_key=strange), ["true"]))
    assert (code, "Host key verification failed" in said) == (255, True)


def test_what_is_no_key_lets_nobody_in(machine: Machine) -> None:
    evil = 'command="id" ssh-ed25519 ' + "A" * 68
    door.ask(machine.bucket, JOB, Visit("x", evil, time.time()))
    door.ask(machine.bucket, JOB, Visit("y", "ssh-ed25519 AAAA\nssh-rsa B", time.time()))
    door.ask(machine.bucket, JOB, Visit("z", "ssh-ed25519 " + "A" * 68, time.time() - 90000))
    machine.keeper.mind()
    assert not machine.listens()
    # Nor does it keep others out.
    strange = {"name": 1, "key": ["ssh-ed25519"], "at": "soon"}
    machine.bucket.put(keys.job(JOB, keys.VISITS), json.dumps([strange]).encode())
    assert visit(machine, "true") == 0


@pytest.mark.parametrize(
    "change",
    [{"host_key": "ssh-ed25519 A\nperdure-machine ssh-rsa B"}, {"port": "1"}, {"address": ["a"]}],
)
def test_what_is_no_answer_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    bucket = open_folder(Address("file", "", str(tmp_path)))
    right = door.Door("192.0.2.1", 2222, "root", "ssh-ed25519 " + "A" * 68, ("x",))
    door.answer(bucket, JOB, right)
    assert door.answered(bucket, JOB) == right
    bucket.put(keys.job(JOB, keys.DOOR), json.dumps({**right._asdict(), **change}).encode())
    assert door.answered(bucket, JOB) is None


def test_a_door_that_is_closed_stays_so(machine: Machine, tmp_path: Path) -> None:
    found = asked(machine, tmp_path, "ssh-ed25519 " + "A" * 68)
    assert found.problem == ""
    machine.keeper.close()
    until(lambda: not machine.listens())
    # The turn's other threads go on for a moment.
    door.ask(machine.bucket, JOB, Visit("late", "ssh-ed25519 " + "B" * 68, time.time()))
    machine.keeper.mind()
    assert not machine.listens()
    answer = door.answered(machine.bucket, JOB)
    assert answer is not None
    assert "late" not in answer.visits


def test_whatever_the_machine_does_not_know_of_itself_is_told(machine: Machine) -> None:
    def address() -> str:
        raise KeyError("privateIpAddress")

    machine.keeper.address = address
    with pytest.raises(EnvironmentFailed, match="lets nobody in: 'privateIpAddress'"):
        visit(machine, "true")


@pytest.mark.parametrize("has_door", [True, False])
def test_who_cannot_be_visited_says_why(machine: Machine, has_door: bool) -> None:
    submission.begin(machine.bucket, JOB, order(has_door))
    if not has_door:
        with pytest.raises(UsageError, match="before `ssh_from` was set"):
            visit(machine, "true")
    lease = Lease(machine.bucket, JOB, "i-1")
    lease.take("")
    lease.release()
    with pytest.raises(ConflictError, match="no machine has `otter`"):
        visit(machine, "true")


def test_a_machine_without_sshd_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *given, **named: None)
    with pytest.raises(EnvironmentFailed, match="lets nobody in: the machine's image has no sshd"):
        visit(machine, "true")
    assert door.visits(machine.bucket, JOB) == []


def test_a_machine_that_is_not_reached_is_told_with_what_may_be_wrong(machine: Machine) -> None:
    machine.keeper.address = lambda: "127.0.0.1:1"  # no name of a host
    with pytest.raises(HostUnreachable, match="no way to the machine") as found:
        visit(machine, "true")
    assert "`ssh_from`" in (found.value.hint or "")


def test_a_port_that_another_has_is_told(machine: Machine) -> None:
    with socket.socket() as busy:
        busy.bind(("0.0.0.0", machine.keeper.port))
        busy.listen()
        with pytest.raises(EnvironmentFailed, match="sshd does not start on the machine"):
            visit(machine, "true")


def test_a_disk_here_that_takes_nothing_is_not_the_buckets(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match="this machine does not take the files of a visit"):
        visit(machine, "true")
    assert door.visits(machine.bucket, JOB) == []
