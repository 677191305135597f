"""What a machine makes of a supervisor's end, and of whatever keeps it from beginning."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.clouds import submission
from perdure.clouds.opening import open_folder
from perdure.clouds.side import log, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.order import Config, Order
from perdure.clouds.side.outputs import Outputs
from perdure.instance import preparing, program
from perdure.instance.program import run, why_settled
from perdure.instance.turn import LAST_S
from perdure.moving.address import Address
from perdure.runtime import names
from perdure.targets.process import SUPERVISOR
from perdure.targets.protocol import Plan

BEGUN = {"event": "started"}
TAKEN = {"event": "notice", "reason": "spot"}
ASKED = {"event": "notice", "reason": "file", "stays": True}


def ended(state: str) -> dict[str, object]:
    return {"event": "ended", "state": state}


@pytest.mark.parametrize(
    ("events", "code", "why"),
    [
        ([ended("SUCCEEDED")], 0, "SUCCEEDED"),
        ([ended("FAILED")], 1, "FAILED"),
        ([ASKED, ended("INTERRUPTED")], names.EXIT_INTERRUPTED, "INTERRUPTED"),
        ([TAKEN, ended("INTERRUPTED")], names.EXIT_INTERRUPTED, None),
        # Its machine was turned off when it had said all, or nothing yet.
        ([TAKEN, ended("INTERRUPTED")], -signal.SIGTERM, None),
        ([ended("SUCCEEDED")], -signal.SIGTERM, "SUCCEEDED"),
        ([BEGUN], -signal.SIGTERM, None),
        ([BEGUN], names.EXIT_INTERRUPTED, None),
        ([BEGUN], 3, "the supervisor ended with 3"),
    ],
)
def test_what_is_written_down_settles_a_job(
    tmp_path: Path, events: list[dict[str, object]], code: int, why: str | None
) -> None:
    (tmp_path / "gen-000002").touch()
    (tmp_path / "attempts").mkdir()
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (tmp_path / "attempts/000002.jsonl").write_text(lines)
    assert why_settled(tmp_path, 1, code) == why


class Machine:
    """A machine of nobody's."""

    watched = "aws"

    def __init__(self, name: str = "i-1") -> None:
        self.name = name
        self.settled = 0

    def kind(self) -> str:
        return "m5.large"

    def identity(self) -> str:
        return self.name

    def address(self) -> str:
        return "127.0.0.1"

    def settle(self) -> None:
        self.settled += 1


class Spot:
    """A job whose machines come one after the other, each with a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = Address("file", "", str(folder / "bucket"))
        self.bucket: Bucket = open_folder(self.address)
        self.machines: list[Machine] = []

    def submit(self, restarts: int = 1, deadline: float | None = None) -> None:
        """Submit the job, as the command line does; its code is nowhere in the bucket."""
        files = {"job.json": b"{}", "code.json": b'{"train.py": ["-", "%s"]}' % (b"0" * 64)}
        turn = submission.next_turn(self.bucket, "otter").turn
        job = {"environment": {"prefix": None}}
        order = Order(turn, job, {}, 0, deadline, restarts, tuple(files), lease_s=20.0)
        submission.bring_folder(self.bucket, "otter", files)
        submission.begin(self.bucket, "otter", order.text().encode())
        standing.want(self.bucket, "otter")

    def machine(self) -> int:
        """Return the exit code of the next machine's program."""
        machine = Machine(f"i-{len(self.machines) + 1}")
        self.machines.append(machine)
        config = Config("aws", "eu-central-1", "group", str(self.address), "otter", "kit")
        return run(config, self.folder / machine.name, machine, print)

    def seen(self, name: str) -> str:
        """Return what the job's log in the bucket has of a file, "" for nothing."""
        folder = self.folder / f"seen-{time.monotonic_ns()}"
        log.begin(self.bucket, "otter", folder)
        file = folder / name
        return file.read_text() if file.exists() else ""

    @property
    def wanted(self) -> bool:
        return standing.wanted(self.bucket, "otter").wanted


@pytest.fixture
def spot(tmp_path: Path) -> Spot:
    return Spot(tmp_path)


def disk_is_full(*given: object) -> None:
    raise OSError(28, "No space left on device", "/opt/perdure/project")


def no_answer(*given: object) -> str:
    raise ValueError("metadata")


def test_a_machine_that_cannot_be_prepared_says_why_and_makes_room(spot: Spot) -> None:
    spot.submit()
    assert [spot.machine(), spot.machine()] == [75, 75]
    assert not any(each.settled for each in spot.machines)
    # So many in a row, and no more.
    assert spot.machine() == 0
    assert spot.machines[-1].settled == 1
    assert not spot.wanted
    assert "the bucket lacks the contents" in spot.seen("supervisor.log")
    said = "2 machines in a row made no progress; the last one: the bucket lacks the contents"
    assert said in spot.seen("attempts/000001.jsonl")
    # A machine that comes all the same leaves again.
    assert spot.machine() == 0


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (preparing, "bring_folder"),
        (log, "begin"),
        (Outputs, "bring"),
        (preparing, "bring_history"),
        (preparing, "bring_code"),
        (program, "bring_data"),
    ],
)
def test_whatever_goes_wrong_is_told_and_counted(
    where: object, name: str, spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too small a disk is too small on each machine, and it takes no words either."""
    spot.submit()
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "bring_code", lambda *given: None)
        patch.setattr(where, name, disk_is_full)
        assert [spot.machine() for _ in range(3)] == [75, 75, 0]
    assert not spot.wanted
    assert spot.machines[-1].settled == 1
    told = spot.seen("supervisor.log").splitlines()
    assert [line.partition(":")[0] for line in told] == ["i-1", "i-2"]
    assert all("No space left on device" in line for line in told)
    assert "2 machines in a row" in spot.seen("attempts/000001.jsonl")


def test_each_machine_is_counted_by_what_it_costs(
    spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    spot.submit()
    monkeypatch.setattr(preparing, "bring_code", disk_is_full)
    spot.machine()
    monkeypatch.setattr(Machine, "kind", no_answer)
    spot.machine()
    found = [json.loads(spot.seen(f"attempts/machine-00000{n}.jsonl")) for n in (1, 2)]
    assert [(each["machine"], each["kind"]) for each in found] == [("i-1", "m5.large"), ("i-2", "")]


def test_a_job_that_failed_so_has_as_many_machines_when_it_is_resumed(spot: Spot) -> None:
    spot.submit()
    assert [spot.machine() for _ in range(3)] == [75, 75, 0]
    spot.submit()
    assert [spot.machine() for _ in range(3)] == [75, 75, 0]
    assert "2 machines in a row" in spot.seen("attempts/000002.jsonl")


def test_a_job_whose_outputs_cannot_be_sent_fails_when_its_time_is_over(
    spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be at it, and paid for, until its provider ends it without a word."""
    spot.submit(deadline=time.time() - LAST_S - 1)
    monkeypatch.setattr(Outputs, "send", disk_is_full)
    monkeypatch.setattr(program._Turning, "_prepared", supervised("true"))
    assert spot.machine() == 0
    assert spot.machines[-1].settled == 1
    assert not spot.wanted
    ended = json.loads(spot.seen("attempts/000002.jsonl"))
    assert ended["state"] == "FAILED"
    assert "No space left on device" in ended["reason"]


def supervised(*command: str) -> Callable[[object, Path], tuple[Plan, None]]:
    """Return what has a turn's supervisor run a command, without any code or environment."""

    def prepared(turning: object, run_dir: Path) -> tuple[Plan, None]:
        argv = (sys.executable, "-I", "-S", str(SUPERVISOR), "--run-dir", str(run_dir))
        return Plan("otter", run_dir, run_dir, (*argv, "--", *command), {}, command), None

    return prepared
