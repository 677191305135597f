"""A machine's turn beside its supervisor: what it may still do when another one has the job."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perdure.clouds.opening import open_folder
from perdure.clouds.side import checkpoints, keys, log, standing
from perdure.clouds.side.bucket import Bucket, Object, Version
from perdure.clouds.side.lease import Fenced, Lease
from perdure.clouds.side.order import Order
from perdure.clouds.side.outputs import Outputs
from perdure.hosts import processes
from perdure.instance.turn import LAST_S, GivenUp, Turn
from perdure.moving.address import Address
from perdure.runtime import names
from perdure.targets.process import SUPERVISOR
from perdure.targets.protocol import Plan
from tests.waiting import PATIENCE_S, until

ORDER = Order(1, {}, {}, 0, None, 5, ())


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_folder(Address("file", "", str(tmp_path / "bucket")))


def prepared(bucket: Bucket, folder: Path, order: Order = ORDER, ttl_s: float = 20.0) -> Turn:
    run_dir = folder / "otter"
    run_dir.mkdir(parents=True)
    lease = Lease(bucket, "otter", "i-1", ttl_s)
    lease.take("")
    writer, outputs = log.begin(bucket, "otter", run_dir), Outputs(bucket, "otter", run_dir)
    return Turn(bucket, "otter", order, lease, writer, outputs, "", 0.1, 0.1)


def plan(turn: Turn, *command: str) -> Plan:
    words = (sys.executable, "-I", "-S", str(SUPERVISOR), "--run-dir", str(turn.run_dir))
    argv = (*words, "--grace-s", "5", "--", *command)
    return Plan("otter", turn.run_dir, turn.run_dir, argv, {}, command)


def test_who_lost_its_lease_kills_all_and_writes_nothing_more(
    bucket: Bucket, tmp_path: Path
) -> None:
    turn = prepared(bucket, tmp_path, ttl_s=0.0)
    # Another one found it silent for too long, while it was frozen, say.
    Lease(bucket, "otter", "i-2").take("")
    before = bucket.names("jobs/otter/")
    with pytest.raises(Fenced):
        turn.run(plan(turn, "sleep", "1000"))
    assert not processes.carrying(names.RUN_DIR, os.fspath(turn.run_dir))
    after = set(bucket.names("jobs/otter/")) - set(before)
    assert not [name for name in after if keys.CHECKPOINTS in name]


def test_a_second_writer_is_fenced_by_the_log_too(bucket: Bucket, tmp_path: Path) -> None:
    turn = prepared(bucket, tmp_path, ttl_s=4000.0)
    (tmp_path / "other/logs").mkdir(parents=True)
    (tmp_path / "other/logs/000001.log").write_text("another one\n")
    log.begin(bucket, "otter", tmp_path / "other").flush()
    with pytest.raises(Fenced):
        turn.run(plan(turn, "sleep", "1000"))
    assert not processes.carrying(names.RUN_DIR, os.fspath(turn.run_dir))


def test_a_bucket_that_vanishes_ends_the_machine_and_not_the_next_one(
    bucket: Bucket, tmp_path: Path
) -> None:
    turn = prepared(bucket, tmp_path, ttl_s=0.4)
    plan_ = plan(turn, "sh", "-c", f"rm -r '{tmp_path / 'bucket'}'; sleep 1000")
    with pytest.raises(Fenced):
        turn.run(plan_)
    assert not processes.carrying(names.RUN_DIR, os.fspath(turn.run_dir))


@dataclass(frozen=True)
class Stalled(Bucket):
    """A bucket whose answers to some questions do not come until `over`."""

    questions: tuple[str, ...] = ()
    over: threading.Event = field(default_factory=threading.Event)

    def get(self, key: str) -> Object | None:
        self._wait("get", key)
        return super().get(key)

    def swap(self, key: str, data: bytes, before: Version | None) -> Version:
        self._wait("swap", key)
        return super().swap(key, data, before)

    def create(self, key: str, data: bytes) -> Version:
        self._wait("create", key)
        return super().create(key, data)

    def _wait(self, *question: str) -> None:
        if any(each in " ".join(question) for each in self.questions):
            self.over.wait(PATIENCE_S)


def test_an_answer_that_does_not_come_keeps_the_lease_where_it_is(
    bucket: Bucket, tmp_path: Path
) -> None:
    """What people ask is one question, the beat another."""
    turn = prepared(bucket, tmp_path, ttl_s=4.0)
    stalled = Stalled(bucket.store, bucket.folder, ("get jobs/otter/control.json",))
    turn.bucket = turn.lease.bucket = stalled
    threading.Thread(target=until_later, args=[turn.lease, 3, tmp_path / "enough"]).start()
    script = f"until test -e '{tmp_path / 'enough'}'; do sleep 0.05; done"
    assert turn.run(plan(turn, "sh", "-c", script)) == 0
    stalled.over.set()


def until_later(lease: Lease, beats: int, file: Path) -> None:
    until(lambda: lease.held.beat >= beats)
    file.touch()


def test_whatever_stalls_the_job_ends_before_another_machine_has_it(
    bucket: Bucket, tmp_path: Path
) -> None:
    turn = prepared(bucket, tmp_path, ttl_s=2.0)
    stalled = Stalled(bucket.store, bucket.folder, ("swap", "create"))
    turn.bucket = turn.lease.bucket = turn.writer.bucket = stalled
    seen: list[bool] = []

    def look() -> None:
        until(lambda: turn._pid is not None)
        Lease(bucket, "otter", "i-2").take("")
        until(lambda: not processes.carrying(names.RUN_DIR, os.fspath(turn.run_dir)))
        # Nothing was answered yet: only the clock said so.
        seen.append(stalled.over.is_set())
        stalled.over.set()

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(Fenced):
        turn.run(plan(turn, "sleep", "1000"))
    looking.join()
    assert seen == [False]


def test_who_is_fenced_sends_nothing_of_what_is_left(bucket: Bucket, tmp_path: Path) -> None:
    """By then the outputs in the bucket are another machine's."""
    turn = prepared(bucket, tmp_path)
    trained(turn.run_dir, 1)
    turn._fenced.set()
    for send in (turn._finish, turn._confirm):
        with pytest.raises(Fenced):
            send()
    assert not bucket.names("jobs/otter/outputs")


def test_what_cannot_be_sent_is_given_up_beyond_its_time_and_told(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Outputs) -> int:
        raise OSError(errno.EFBIG, "EntityTooLarge")

    monkeypatch.setattr(Outputs, "send", refuse)
    late = Order(1, {}, {}, 0, time.time() - LAST_S - 1, 5, ())
    turn = prepared(bucket, tmp_path, late)
    trained(turn.run_dir, 1)
    with pytest.raises(GivenUp, match="EntityTooLarge"):
        turn.run(plan(turn, "sleep", "1000"))
    told = (turn.run_dir / names.SUPERVISOR_LOG).read_text()
    assert told.count("no checkpoint counts") == 1


def test_what_a_person_asks_is_heard(bucket: Bucket, tmp_path: Path) -> None:
    standing.ask(bucket, "otter", standing.INTERRUPT, "before this turn")
    turn = prepared(bucket, tmp_path, Order(2, {}, {}, 1, None, 5, ()))
    standing.ask(bucket, "otter", standing.INTERRUPT, "now")
    assert turn.run(plan(turn, "sleep", "1000")) == names.EXIT_INTERRUPTED
    second = tmp_path / "second"
    log.begin(bucket, "otter", second)
    assert '"reason": "now"' in (second / "attempts/000001.jsonl").read_text()


def test_the_deadline_stops_it_for_good(bucket: Bucket, tmp_path: Path) -> None:
    turn = prepared(bucket, tmp_path, Order(1, {}, {}, 0, 1.0, 5, ()))
    assert turn.run(plan(turn, "sleep", "1000")) == names.EXIT_INTERRUPTED
    assert '"stays": true' in (turn.run_dir / "attempts/000001.jsonl").read_text()


def test_the_newest_checkpoint_and_outputs_are_there_at_the_end(
    bucket: Bucket, tmp_path: Path
) -> None:
    turn = prepared(bucket, tmp_path)
    script = (
        "mkdir -p checkpoints/tmp outputs/'a b' && echo x >checkpoints/tmp/state.safetensors && "
        "mv checkpoints/tmp checkpoints/g000001-s0000000007 && echo out >outputs/'a b'/'ü $(x)'"
    )
    assert turn.run(plan(turn, "sh", "-c", f"cd '{turn.run_dir}' && {script}")) == 0
    second = tmp_path / "second"
    shelf = checkpoints.Shelf(bucket, "otter")
    assert checkpoints.restore(shelf, second, print) == "g000001-s0000000007"
    Outputs(bucket, "otter", second).bring()
    assert (second / "outputs/a b/ü $(x)").read_text() == "out\n"


def test_rows_of_a_checkpoint_are_in_the_bucket_before_it_counts(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may go without a word at any moment, this one between the two as well."""
    turn = prepared(bucket, tmp_path)
    folder = turn.run_dir / "checkpoints/g000001-s0000000007"
    folder.mkdir(parents=True)
    (folder / "state.safetensors").write_text("x")
    (turn.run_dir / "metrics").mkdir()
    (turn.run_dir / "metrics/000001.jsonl").write_text("a row\n")
    had: list[str] = []
    create = Bucket.create

    def look(self: Bucket, key: str, data: bytes) -> object:
        if key == keys.job("otter", keys.manifest(folder.name)):
            log.begin(bucket, "otter", tmp_path / "second")
            had.append((tmp_path / "second/metrics/000001.jsonl").read_text())
        return create(self, key, data)

    monkeypatch.setattr(Bucket, "create", look)
    turn._upload_newest()
    assert had == ["a row\n"]


class PowerCut(BaseException):
    """A machine goes between two requests: nothing on it does anything any more."""


class Power:
    """So many requests that a bucket's machine still makes; None: as many as it likes."""

    left: int | None = None
    bucket: Bucket | None = None

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("put", "create", "swap", "delete"):
            monkeypatch.setattr(Bucket, name, self._counted(getattr(Bucket, name)))

    def _counted(self, known: Callable[..., object]) -> Callable[..., object]:
        def called(*given: object) -> object:
            if self.left is not None and given[0] is self.bucket:
                if self.left == 0:
                    raise PowerCut
                self.left -= 1
            return known(*given)

        return called


def trained(run_dir: Path, step: int) -> None:
    """Do a step of a training that writes files, takes one of the last step away, and saves."""
    outputs = run_dir / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    (outputs / f"step {step}").write_text(f"what came of step {step}")
    (outputs / f"newest {step}").write_text("only one of these stays")
    (outputs / f"newest {step - 1}").unlink(missing_ok=True)
    folder = run_dir / f"checkpoints/g000001-s{step:010d}"
    folder.mkdir(parents=True)
    (folder / "state.safetensors").write_text(str(step))


def went_on(bucket: Bucket, run_dir: Path) -> dict[str, str]:
    """Return the outputs of a training that goes on from what a bucket has."""
    found = checkpoints.restore(checkpoints.Shelf(bucket, "otter"), run_dir, print)
    Outputs(bucket, "otter", run_dir).bring()
    for step in range(checkpoints.order(found or "g000001-s0")[1] + 1, 4):
        trained(run_dir, step)
    return {each.name: each.read_text() for each in (run_dir / "outputs").iterdir()}


def test_whenever_a_machine_goes_the_next_one_ends_with_the_same_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training does not write again what it wrote before the checkpoint that it goes on from."""
    expected = {f"step {step}": f"what came of step {step}" for step in (1, 2, 3)}
    expected["newest 3"] = "only one of these stays"
    power, survived, cuts = Power(monkeypatch), False, 0
    while not survived:
        bucket = open_folder(Address("file", "", str(tmp_path / f"bucket-{cuts}")))
        turn = prepared(bucket, tmp_path / f"machine-{cuts}", ttl_s=4000.0)
        power.bucket, power.left = bucket, cuts
        with contextlib.suppress(PowerCut):
            for step in (1, 2, 3):
                trained(turn.run_dir, step)
                turn._upload_newest()
            turn._finish()
            survived = True
        power.left = None
        assert went_on(bucket, tmp_path / f"machine-{cuts}/second") == expected, cuts
        cuts += 1
    assert cuts > 12
